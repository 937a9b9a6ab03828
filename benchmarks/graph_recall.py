"""How many of the nearest support nodes `knn_block` finds, and what the others do to a node's labels."""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from typing import Any

from workbench import feature_store, open_split

BLOCKS = (2, 4, 8)


def recall_on(args: argparse.Namespace, dataset: str, count: int, nearest: int) -> list[dict[str, Any]]:
    """Means over episodes of the validation classes with 5 supports of 512 nodes, at stride 1.

    Args:
        args: Data, backbone and cache, see `workbench.add_data_arguments`.
        dataset: Its short name.
        count: Number of episodes.
        nearest: Neighbours a node.

    Returns:
        For each block: ``recall``, the share of the exact neighbours that are found, and ``agreement``, the share of
        query nodes whose neighbours have the same majority of labels.
    """
    from pixgraph.config import GraphConfig
    from pixgraph.data.protocols import get_protocol
    from pixgraph.data.tasks import load_task
    from pixgraph.graph.block_neighbours import block_neighbours, recall
    from pixgraph.graph.cells import picture_cells
    from pixgraph.graph.neighbours import nearest_neighbours
    from pixgraph.graph.support import support_part

    named = argparse.Namespace(**{**vars(args), "dataset": dataset})
    store, split = feature_store(named), open_split(named, "val")
    found: dict[int, list[tuple[float, float]]] = {block: [] for block in BLOCKS}
    for episode in replace(get_protocol("pixgraph-v1"), episodes=count).episode_list(split, 1, 5, 0):
        task = load_task(split, episode, store)
        part = support_part(task.support, GraphConfig(num_fg=256, num_bg=256, query_support_knn=nearest))
        cells = picture_cells(task.query[0], 1, 0, part.space)
        if part.space is None or cells.vectors is None:
            continue
        label = part.label[part.order] > 0
        exact = nearest_neighbours(part.space.vectors, nearest, cells.vectors, exclude_self=False, metric="cosine")[0]
        for block in BLOCKS:
            near = block_neighbours(part.space.vectors, cells.vectors, (cells.height, cells.width), nearest, block)
            majority = [label[ids].float().mean(1) > 0.5 for ids in (exact, near)]
            same = float((majority[0] == majority[1]).float().mean())
            found[block].append((recall(exact, near), same))
    rows = []
    for block, values in found.items():
        shares, agreed = ([v[i] for v in values] for i in range(2))
        rows.append(
            {
                "dataset": dataset,
                "nearest": nearest,
                "block": block,
                "recall": statistics.fmean(shares),
                "lowest_recall": min(shares),
                "agreement": statistics.fmean(agreed),
                "episodes": len(values),
            }
        )
    return rows
