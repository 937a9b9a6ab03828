"""The places of a task graph's nodes, found from the graph, and the projected backbone features at them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import cast

import torch
from torch import nn

from pixgraph.data.picture import FewShotTask
from pixgraph.graph.backend import Graph
from pixgraph.graph.pattern import shared
from pixgraph.graph.segment_map import segment_map
from pixgraph.graph.support import SUPPORT
from pixgraph.graph.support_nodes import labelled_segments
from pixgraph.models.places import NodeGrid, NodePoints, NodeSegments, PicturePlace, joined


def node_grids(graph: Graph, task: FewShotTask) -> list[PicturePlace]:
    """The places of the nodes of the queries and then of the unlabelled pictures of a task graph."""
    first, counts = shared(graph, ("counts", len(task.support)), lambda: _counts(graph, len(task.support)))
    grids = list[PicturePlace]()
    for picture, count in zip((*task.query, *task.unlabelled), counts, strict=True):
        if "segments" in graph.ndata:
            grids.append(NodeSegments(first, segment_map(picture, asked_segments(graph))))
        else:
            height, width = picture.rgb.shape[-2:]
            stride = round(math.sqrt(height * width / count))
            grids.append(NodeGrid(first, height // stride, width // stride))
        first += count
    return grids


def _counts(graph: Graph, supports: int) -> tuple[int, list[int]]:
    """How many nodes the supports have together, and each other picture."""
    first = int((graph.ndata["role"] == SUPPORT).sum())
    return first, torch.bincount(graph.ndata["image"][first:] - supports).tolist()


def support_places(graph: Graph, task: FewShotTask) -> list[NodePoints | NodeSegments]:
    """The places of the nodes of the supports of a task graph, whose first nodes they are."""
    rgbxy, image = graph.ndata["rgbxy"], graph.ndata["image"]
    if "segments" not in graph.ndata:
        last = int((graph.ndata["role"] == SUPPORT).sum())
        height, width = task.support[0].rgb.shape[-2:]
        xy = [rgbxy[:last, 3:][image[:last] == i] for i in range(len(task.support))]
        return [NodePoints(points, (height, width)) for points in xy]
    first, places = 0, list[NodePoints | NodeSegments]()
    for picture in task.support:
        segments = labelled_segments(picture, asked_segments(graph))[0]
        places.append(NodeSegments(first, segments))
        first += len(segments)
    return places


def asked_segments(graph: Graph) -> int:
    """How many segments the pictures of a graph of segments were asked to be cut into."""
    return int(graph.ndata["segments"][0])


def node_features(
    maps: Sequence[Sequence[torch.Tensor]],
    places: Sequence[NodePoints | NodeGrid | NodeSegments],
    project: nn.ModuleList,
) -> torch.Tensor:
    """Sum over the levels of the projected features at every node.

    Projection and interpolation are linear, so each level is projected where it has fewest cells, on its own grid or
    on that of the nodes if this is coarser, and levels of one grid are summed before they are interpolated.

    Args:
        maps: Maps (C_l, H_l, W_l), level by level, of each picture.
        places: Where its nodes are; they follow each other in the graph.
        project: A linear layer for each level.

    Returns:
        (V, width).
    """
    parts = []
    for levels, place in zip(maps, places, strict=True):
        projected = _projected([place.shrink(m) for m in levels], project)
        parts.append(_total(place.collect(m) for m in projected))  # (n, width)
    return joined(parts)


def _projected(maps: Sequence[torch.Tensor], project: nn.ModuleList) -> list[torch.Tensor]:
    """The projected maps (width, H, W), one for each size; those of one size are summed."""
    sums: dict[tuple[int, int], torch.Tensor] = {}
    for m, layer in zip(maps, cast(Iterable[nn.Linear], project), strict=True):
        size = (m.shape[1], m.shape[2])
        flat = m.flatten(1)  # (C, H * W)
        sums[size] = torch.addmm(sums[size], layer.weight, flat) if size in sums else layer.weight @ flat
    return [total.unflatten(1, size) for size, total in sums.items()]


def _total(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    return reduce(torch.add, parts)
