"""Edges that are built together, and how they get into the arrays of a graph without a copy in between."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import torch

from pixgraph.config import GraphConfig
from pixgraph.graph.cells import Cells
from pixgraph.graph.edges import EdgeKind, color_difference, fill_features, fill_lattice_features, switch_features
from pixgraph.graph.lattice import check_dilations, fill_lattice, lattice_size

Tensor = torch.Tensor

KEPT = 2**15
"""Edges of a lattice up to which it is kept: to write it again is a hundred calls, which take longer than a copy."""


class EdgeArrays(NamedTuple):
    """The arrays of a graph's edges, or views of a range of them.

    Attributes:
        src: (E,) int64.
        dst: (E,) int64.
        kind: (E,) uint8.
        feature: (E, 3) float32.
    """

    src: Tensor
    dst: Tensor
    kind: Tensor
    feature: Tensor

    @classmethod
    def empty(cls, count: int, device: torch.device) -> EdgeArrays:
        """Arrays of `count` edges whose values are still to be written."""
        src, dst = (torch.empty(count, dtype=torch.int64, device=device) for _ in range(2))
        # One feature after the other in memory: they are written, and read, one at a time.
        feature = torch.empty(3, count, device=device).T
        return cls(src, dst, torch.empty(count, dtype=torch.uint8, device=device), feature)

    def range(self, start: int, count: int) -> EdgeArrays:
        """Views of the edges from `start` to `start + count`."""
        return EdgeArrays(*(x[start : start + count] for x in self))


class EdgeBlock(Protocol):
    """Edges of known number that can be written where they belong."""

    @property
    def one_way(self) -> bool:
        """Whether the reverse edges must be added where messages are to flow both ways."""

    @property
    def pattern(self) -> Hashable:
        """See `pixgraph.graph.pattern`; `None`: another block of this sort may be anything."""

    def __len__(self) -> int:
        """Number of edges, without reverse ones."""

    def write(self, out: EdgeArrays, planes: Tensor, color: str) -> None:
        """Write all edges.

        Args:
            out: As long as the block.
            planes: (5, V) float32: R, G, B, x and y of all nodes.
            color: Colour difference, see `edge_features`.
        """


@dataclass(frozen=True)
class ReadyEdges:
    """Edges whose arrays exist already."""

    arrays: EdgeArrays
    one_way: bool = False
    pattern: None = None

    def __len__(self) -> int:
        return len(self.arrays.src)

    def write(self, out: EdgeArrays, planes: Tensor, color: str) -> None:
        """See `EdgeBlock.write`."""
        for target, source in zip(out, self.arrays, strict=True):
            target.copy_(source)


class LatticeEdges:
    """The lattice of a picture, both directions.

    Args:
        cells: The picture's nodes.
        config: Its dilations and connectivity.

    Raises:
        ConfigError: A dilation does not fit.
    """

    one_way = False

    def __init__(self, cells: Cells, config: GraphConfig) -> None:
        self.grid, self.first, self.steps = (cells.height, cells.width), cells.first, cells.steps
        self.dilations, self.connectivity = check_dilations(*self.grid, config.dilations), config.connectivity
        self.pattern = ("lattice", self.first, self.grid, self.dilations, self.connectivity)

    def __len__(self) -> int:
        return lattice_size(*self.grid, self.dilations, self.connectivity)

    def write(self, out: EdgeArrays, planes: Tensor, color: str) -> None:
        """See `EdgeBlock.write`."""
        if len(self) <= KEPT:
            kept = _kept_lattice(self.grid, self.first, self.steps, self.dilations, self.connectivity, planes.device)
            ReadyEdges(kept).write(out, planes, color)
            one, other = (planes[:3].index_select(1, ends).T for ends in (kept.src, kept.dst))
            out.feature[:, 0] = color_difference(one, other, color)
            return
        end = self.first + self.grid[0] * self.grid[1]
        rgb = planes[:3, self.first : end].unflatten(1, self.grid).permute(1, 2, 0)  # (h, w, 3)
        _write_lattice(out, rgb, self.first, self.steps, self.dilations, self.connectivity, color)


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _kept_lattice(
    grid: tuple[int, int],
    first: int,
    steps: tuple[float, float],
    dilations: tuple[int, ...],
    connectivity: int,
    device: torch.device,
) -> EdgeArrays:
    """The lattice of a picture of one colour."""
    arrays = EdgeArrays.empty(lattice_size(*grid, dilations, connectivity), device)
    _write_lattice(arrays, torch.zeros(*grid, 3, device=device), first, steps, dilations, connectivity, "mean_abs")
    return arrays


def _write_lattice(
    out: EdgeArrays,
    rgb: Tensor,
    first: int,
    steps: tuple[float, float],
    dilations: Sequence[int],
    connectivity: int,
    color: str,
) -> None:
    """All edges of the lattice of a picture whose nodes have the colours (h, w, 3)."""
    height, width, _ = rgb.shape
    fill_lattice(out.src, out.dst, height, width, dilations, connectivity, first)
    out.kind.fill_(EdgeKind.LATTICE)
    fill_lattice_features(out.feature, rgb, steps, dilations, color, connectivity)


@dataclass(frozen=True)
class PartnerEdges:
    """From the partners of each of a picture's nodes to the node; none of them lies in the picture.

    Attributes:
        partners: (n, c) int64 ids.
        first: Id of the first node; the others follow.
        kinds: The kind of the first columns of `partners` and how many these are, then of the next ones, up to c.
        one_way: See `EdgeBlock`.
    """

    partners: Tensor
    first: int
    kinds: Sequence[tuple[EdgeKind, int]]
    one_way: bool = True

    @property
    def pattern(self) -> Hashable:
        """See `EdgeBlock`."""
        return ("partners", self.first, len(self.partners), tuple(self.kinds))

    def __len__(self) -> int:
        return self.partners.numel()

    def write(self, out: EdgeArrays, planes: Tensor, color: str) -> None:
        """See `EdgeBlock.write`."""
        shape = self.partners.shape
        out.src.view(shape).copy_(self.partners)
        node = torch.arange(self.first, self.first + shape[0], device=out.dst.device)
        out.dst.view(shape).copy_(node[:, None].expand(shape))
        start = 0
        for kind, count in self.kinds:
            out.kind.view(shape)[:, start : start + count] = int(kind)
            start += count
        fill_features(out.feature, planes, out.src, out.dst, color)
        out.feature[:, 2] = 0


@dataclass(frozen=True)
class ListedEdges:
    """Edges within one picture, of one kind.

    Attributes:
        src: (E,) int64.
        dst: (E,) int64.
        kind: Why they are there.
        one_way: See `EdgeBlock`.
    """

    src: Tensor
    dst: Tensor
    kind: EdgeKind
    one_way: bool = False
    pattern: None = None

    def __len__(self) -> int:
        return len(self.src)

    def write(self, out: EdgeArrays, planes: Tensor, color: str) -> None:
        """See `EdgeBlock.write`."""
        out.src.copy_(self.src)
        out.dst.copy_(self.dst)
        out.kind.fill_(self.kind)
        fill_features(out.feature, planes, out.src, out.dst, color)
        out.feature[:, 2] = 1


def written(blocks: Sequence[EdgeBlock], planes: Tensor, config: GraphConfig) -> EdgeArrays:
    """All edges of the blocks, one after the other, each with its way back behind it where that is wanted.

    Args:
        blocks: What to write.
        planes: (5, V) float32, see `EdgeBlock.write`.
        config: Whether to add ways back, the colour difference, and which features to leave out.

    Returns:
        New arrays.

    Raises:
        ConfigError: The colour difference is unknown.
    """
    both = [config.both_ways and block.one_way for block in blocks]
    total = sum(len(block) * (1 + way_back) for block, way_back in zip(blocks, both, strict=True))
    arrays, start = EdgeArrays.empty(total, planes.device), 0
    for block, way_back in zip(blocks, both, strict=True):
        out = arrays.range(start, len(block))
        block.write(out, planes, config.color)
        start += len(block)
        if way_back:
            ReadyEdges(EdgeArrays(out.dst, out.src, out.kind, out.feature)).write(
                arrays.range(start, len(block)), planes, config.color
            )
            start += len(block)
    switch_features(arrays.feature, config)
    return arrays
