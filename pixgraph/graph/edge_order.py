"""The edges of a graph in the order in which attention reads them: by destination, equal degrees side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from pixgraph.graph.backend import Graph, incoming, structure
from pixgraph.graph.pattern import shared

Tensor = torch.Tensor


@dataclass(frozen=True)
class EdgeOrder:
    """Edges sorted by the degree of their destination, then by destination.

    The edges into nodes of one degree d are a dense (nodes, d) table, so that a softmax over the incoming edges is one
    over the last dimension, without padding and without a mask. A graph of E edges has fewer than sqrt(2 E) degrees.

    Attributes:
        first: Id of the first node that hears; the edges into nodes before it are left out.
        size: Nodes from `first` on.
        sources: V, nodes of the graph.
        edges: (E',) int64 ids of the edges in this order.
        src: (E',) int32 ids of their sources.
        dst: (E',) int32 ids of their destinations, minus `first`.
        nodes: (T,) int64 destinations with at least one edge, minus `first`.
        offsets: (T + 1,) int32 where the edges of each of these begin and end.
        runs: Degree, first edge and end of each run of edges into nodes of one degree.
    """

    first: int
    size: int
    sources: int
    edges: Tensor
    src: Tensor
    dst: Tensor
    nodes: Tensor
    offsets: Tensor
    runs: tuple[tuple[int, int, int], ...]

    @cached_property
    def by_source(self) -> tuple[Tensor, Tensor, Tensor]:
        """Edges sorted by source: offsets (V + 1,), destinations (E',) and positions in this order (E',)."""
        place = torch.sort(self.src, stable=True).indices
        offsets = self.src.new_zeros(self.sources + 1)
        offsets[1:] = torch.bincount(self.src, minlength=self.sources).cumsum(0)
        return offsets, self.dst.index_select(0, place), place

    def sort(self, values: Tensor) -> Tensor:
        """Values (E, F) of the graph's edges in this order, an edge a column: (F, E')."""
        if values.stride(0) == 1:
            return values.t().index_select(1, self.edges)
        return values.index_select(0, self.edges).t().contiguous()


def edge_order(graph: Graph, first: int = 0) -> EdgeOrder:
    """The order of the edges into the nodes from `first` on; computed once for a graph."""
    held: Any = graph
    stands_for, orders = held.__dict__.get("_edge_orders", (None, {}))
    if stands_for is not structure(graph):  # DGL graphs can be changed in place
        orders = {}
        held.__dict__["_edge_orders"] = (structure(graph), orders)
    if first not in orders:
        orders[first] = _ordered(graph, first)
    return orders[first]


def _ordered(graph: Graph, first: int) -> EdgeOrder:
    order = shared(graph, ("order", first), lambda: _worked_out(graph, first))
    src = graph.edges()[0].index_select(0, order.edges)
    return replace(order, src=src.int())


def _worked_out(graph: Graph, first: int) -> EdgeOrder:
    """The order without the sources."""
    offsets, src, ids = incoming(graph)
    degree = offsets.diff()[first:]
    # Stable: nodes of one degree stay in the order of their ids, which lie close together in the picture.
    by_degree, nodes = torch.sort(degree, stable=True)
    silent = int((by_degree == 0).sum())
    by_degree, nodes = by_degree[silent:], nodes[silent:]
    ends = by_degree.new_zeros(len(nodes) + 1)
    torch.cumsum(by_degree, 0, out=ends[1:])
    shift = offsets[first:].index_select(0, nodes) - ends[:-1]
    total = int(ends[-1])
    place = torch.repeat_interleave(shift, by_degree, output_size=total)
    place += torch.arange(total, device=place.device)
    return EdgeOrder(
        first=first,
        size=len(degree),
        sources=graph.num_nodes(),
        edges=ids.index_select(0, place).long(),
        src=src.new_empty(0),
        dst=torch.repeat_interleave(nodes.int(), by_degree, output_size=total),
        nodes=nodes,
        offsets=ends.int(),
        runs=_runs(by_degree),
    )


def _runs(degrees: Tensor) -> tuple[tuple[int, int, int], ...]:
    """Degree, first edge and end for each run of equal degrees; ascending (T,)."""
    values, counts = torch.unique_consecutive(degrees, return_counts=True)
    runs, start = [], 0
    for degree, count in zip(values.tolist(), counts.tolist(), strict=True):
        runs.append((degree, start, start + degree * count))
        start += degree * count
    return tuple(runs)
