"""Unsupervised node contrast on unlabelled pictures: two stochastic views of their lattice graphs."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.config import Config
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.graph.augment import drop_edges, mask_features
from pixgraph.graph.backend import Graph, make_graph
from pixgraph.graph.cells import picture_cells
from pixgraph.graph.query_edges import lattice_block
from pixgraph.losses.infonce import node_infonce
from pixgraph.models.levels import level_statistics, standardise
from pixgraph.models.network import COLOR_POSITION, PixGraphNet
from pixgraph.models.nodes import NodeGrid

EDGE_DROP = 0.3
FEATURE_MASK = 0.3
ANCHORS = 256


def unlabelled_contrast(network: nn.Module, task: FewShotTask, config: Config, seed: int) -> torch.Tensor:
    """GRACE's loss on the encoder: edges dropped and feature columns masked, independently in two views.

    Node ids stay, so that the same node is its own positive; `ANCHORS` nodes a picture are contrasted.

    Args:
        network: A `PixGraphNet`.
        task: With at least one unlabelled picture.
        config: `graph` for the lattice, `loss.temperature`.
        seed: Seed of both views and of the choice of nodes.

    Returns:
        A scalar, the mean over the unlabelled pictures.
    """
    rng = np.random.default_rng([seed, 2])
    losses = []
    for picture in task.unlabelled:
        graph, grid = lattice_graph(picture, config)
        maps = [standardise(picture, level_statistics([picture]))]
        chosen = torch.from_numpy(rng.permutation(graph.num_nodes())[:ANCHORS]).to(picture.rgb.device)
        views = [_view(cast(PixGraphNet, network), graph, maps, grid, rng)[chosen] for _ in range(2)]
        losses.append(node_infonce(views[0], views[1], config.loss.temperature))
    return torch.stack(losses).mean()


def lattice_graph(picture: Picture, config: Config) -> tuple[Graph, NodeGrid]:
    """The query lattice of one picture alone, with the node data that the encoder reads."""
    cells = picture_cells(picture, config.graph.stride, 0, None)
    block = lattice_block(cells, config.graph)
    ndata = {"rgbxy": cells.rgbxy, "image": torch.zeros(len(cells), dtype=torch.int64, device=picture.rgb.device)}
    graph = make_graph(block.src, block.dst, len(cells), ndata, {"feature": cast(torch.Tensor, block.feature)})
    return graph, NodeGrid(0, cells.height, cells.width)


def _view(
    network: PixGraphNet, graph: Graph, maps: list[list[torch.Tensor]], grid: NodeGrid, rng: np.random.Generator
) -> torch.Tensor:
    """Metric embeddings (V, D) of one augmented view."""
    columns = torch.ones(1, network.config.width + COLOR_POSITION, device=graph.device)
    keep = mask_features(columns, FEATURE_MASK, rng)
    states = network.encode(drop_edges(graph, EDGE_DROP, rng), [], (0, 0), maps, [grid], keep)
    return F.normalize(network.metric(states), dim=1)
