"""Labels that spread along the edges of a graph: diffusion with restart.

With y0 what is known of each node, and W the weights w of the edges into each node over their sum,

    y <- (1 - a) y0 + a W y,      w = g exp(-f (1 - cos) - c d),

cos between the features at both ends of an edge, d their colour difference on lattice edges and 0 on others, g a
constant of the kind of edge: the iteration of Zhou et al., Learning with Local and Global Consistency (NIPS 2003), with
rows that sum to one. Nodes that no edge with g > 0 leads to keep what is known of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from pixgraph.graph.backend import Graph, incoming
from pixgraph.graph.edge_products import row_dots, row_sums
from pixgraph.graph.edges import EdgeKind
from pixgraph.graph.pattern import shared

ALONG_LATTICE = {EdgeKind.LATTICE: 1.0}
"""The constant g where labels spread among neighbours only."""

COLOR = 30.0
FEATURE = 5.0
"""c and f, chosen on validation classes."""


class Walk(NamedTuple):
    """The matrix W of a graph, row by row, without edges that carry nothing; see `random_walk`.

    Attributes:
        first: Id of the node of the first row.
        offsets: (V - first + 1,) int64 where the edges into each node begin and end.
        src: (E',) int64 ids of their sources.
        shares: (E',), weight of each edge over the sum of those into the same node.
        heard: (V - first, 1), one for nodes that an edge with a weight leads to, else zero.
    """

    first: int
    offsets: torch.Tensor
    src: torch.Tensor
    shares: torch.Tensor
    heard: torch.Tensor


@torch.no_grad()
def random_walk(
    graph: Graph,
    first: int,
    unit: torch.Tensor | None,
    kinds: dict[EdgeKind, float],
    color: float,
    feature: float = 0.0,
) -> Walk:
    """W, at least in single precision and without a gradient.

    Args:
        graph: V nodes; edata ``kind`` and ``feature``.
        first: Id of the first node that hears; edges into nodes before it are left out.
        unit: (V, C) features of unit length; only those at the ends of edges with g > 0 matter. `None`: f is zero.
        kinds: The constant g of each kind of edge, not negative; edges of other kinds carry nothing.
        color: c.
        feature: f.
    """
    steps = shared(graph, ("walk", first, *sorted(kinds.items())), lambda: _walked_edges(graph, first, kinds))
    src = graph.edges()[0].index_select(0, steps.edges)
    hindrance = color * graph.edata["feature"][:, 0].index_select(0, steps.edges) * steps.colored
    if unit is not None:
        unit = unit.to(torch.promote_types(unit.dtype, torch.float32))
        alike = row_dots(steps.offsets, src, unit[None], unit[None, first:])[0]
        hindrance = feature * (1 - alike) + hindrance.to(unit)
    weight = steps.scale.to(hindrance) * torch.exp(-hindrance)
    node = steps.dst - first
    total = weight.new_zeros(graph.num_nodes() - first).index_add_(0, node, weight)
    shares = weight / total.clamp_min(torch.finfo(total.dtype).tiny).index_select(0, node)
    return Walk(first, steps.offsets, src, shares, (total > 0).to(total)[:, None])


class _WalkedEdges(NamedTuple):
    """The edges of a graph that carry something, by destination.

    Attributes:
        edges: (E',) int64 ids.
        dst: (E',) int64 destinations.
        offsets: As in `Walk`.
        scale: (E',) float32, g.
        colored: (E',) float32, one for lattice edges.
    """

    edges: torch.Tensor
    dst: torch.Tensor
    offsets: torch.Tensor
    scale: torch.Tensor
    colored: torch.Tensor


def _walked_edges(graph: Graph, first: int, kinds: dict[EdgeKind, float]) -> _WalkedEdges:
    ends, src, ids = incoming(graph)
    scale = torch.zeros(len(EdgeKind), device=src.device)
    for kind, value in kinds.items():
        scale[kind] = value
    begin = int(ends[first])
    node = torch.arange(len(ends) - 1 - first, device=src.device).repeat_interleave(ends[first:].diff())  # from `first`
    of_edge = graph.edata["kind"].index_select(0, ids[begin:].long()).long()
    some = scale.index_select(0, of_edge).nonzero()[:, 0]
    node, of_edge = node.index_select(0, some), of_edge.index_select(0, some)
    offsets = F.pad(torch.bincount(node, minlength=len(ends) - 1 - first).cumsum(0), (1, 0))
    edges = ids[begin:].index_select(0, some).long()
    return _WalkedEdges(
        edges, node + first, offsets, scale.index_select(0, of_edge), (of_edge == EdgeKind.LATTICE).float()
    )


def diffuse(walk: Walk, start: torch.Tensor, alpha: float, steps: int) -> torch.Tensor:
    """The iteration of the module's text.

    Args:
        walk: W.
        start: (V, C), y0; the nodes before `walk.first` keep it.
        alpha: a in [0, 1).
        steps: Number of steps.

    Returns:
        (V - first, C); rows that sum to one keep doing so.
    """
    fixed, own = start[: walk.first], start[walk.first :]
    restart, y = (1 - alpha * walk.heard.to(start)) * own, own
    shares = alpha * walk.shares.to(start)
    for _ in range(steps):
        every = torch.cat([fixed, y]) if walk.first else y
        y = restart + row_sums(walk.offsets, walk.src, every, shares)
    return y
