"""Where the nodes of a task graph are in their pictures, and the projected backbone features at them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import cast

import torch
from torch import nn

from pixgraph.data.picture import FewShotTask
from pixgraph.graph.backend import Graph
from pixgraph.graph.support import SUPPORT
from pixgraph.models.levels import resample, sample_at


@dataclass(frozen=True)
class NodeGrid:
    """The nodes of one query or unlabelled picture: a row-major grid of consecutive ids.

    Attributes:
        first: Id of the first node.
        rows: Rows of nodes.
        columns: Nodes in a row.
    """

    first: int
    rows: int
    columns: int

    @property
    def nodes(self) -> slice:
        """Ids of the nodes."""
        return self.nodes_from(0)

    def nodes_from(self, first: int) -> slice:
        """Positions of the nodes in a tensor that starts with node `first`."""
        return slice(self.first - first, self.first - first + self.rows * self.columns)

    def image(self, values: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Values (V - first, N, ...) of the nodes from `first` on, as pictures: (N, ..., rows, columns)."""
        return values[self.nodes_from(first)].movedim(0, -1).unflatten(-1, (self.rows, self.columns))


def node_grids(graph: Graph, task: FewShotTask) -> list[NodeGrid]:
    """The grids of the queries and then of the unlabelled pictures of a task graph."""
    first = int((graph.ndata["role"] == SUPPORT).sum())
    counts = torch.bincount(graph.ndata["image"][first:] - len(task.support)).tolist()
    grids = []
    for picture, count in zip((*task.query, *task.unlabelled), counts, strict=True):
        height, width = picture.rgb.shape[-2:]
        stride = round(math.sqrt(height * width / count))
        grids.append(NodeGrid(first, height // stride, width // stride))
        first += count
    return grids


def node_features(
    graph: Graph,
    sampled: Sequence[Sequence[torch.Tensor]],
    size: tuple[int, int],
    gridded: Sequence[Sequence[torch.Tensor]],
    grids: Sequence[NodeGrid],
    project: nn.ModuleList,
) -> torch.Tensor:
    """Sum over the levels of the projected features at every node.

    Projection and interpolation are linear, so each level is projected where it has fewest cells, on its own grid or
    on that of the nodes if this is coarser, and levels of one grid are summed before they are interpolated.

    Args:
        graph: Its first nodes are sampled from pictures, the others form the grids, in this order.
        sampled: Maps (C_l, H_l, W_l), level by level, of the pictures whose nodes were sampled.
        size: Height and width of these pictures, in pixels.
        gridded: Those of the pictures of the grids.
        grids: One for each of the latter.
        project: A linear layer for each level.

    Returns:
        (V, width).
    """
    rgbxy, image = graph.ndata["rgbxy"], graph.ndata["image"]
    last = grids[0].first if grids else len(image)
    parts = []
    for i, maps in enumerate(sampled):
        xy = rgbxy[:last, 3:][image[:last] == i]
        parts.append(_total(sample_at(m, xy, size) for m in _projected(maps, project)))  # (n, width)
    for maps, grid in zip(gridded, grids, strict=True):
        fewest = [_pooled(m, grid.rows, grid.columns) for m in maps]
        total = _total(resample(m, grid.rows, grid.columns) for m in _projected(fewest, project))
        parts.append(total.flatten(1).T)
    return torch.cat(parts)


def _pooled(maps: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A map (C, H, W) on a grid of at most that many cells."""
    coarser = rows <= maps.shape[-2] and columns <= maps.shape[-1]
    return resample(maps, rows, columns) if coarser else maps


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
