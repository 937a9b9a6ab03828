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

from pixgraph.graph.backend import Graph
from pixgraph.graph.edge_order import EdgeOrder
from pixgraph.graph.edge_products import edge_dots, sums_in
from pixgraph.graph.edges import EdgeKind

ALONG_LATTICE = {EdgeKind.LATTICE: 1.0}
"""The constant g where labels spread among neighbours only."""

COLOR = 30.0
FEATURE = 5.0
"""c and f, chosen on validation classes."""


class Walk(NamedTuple):
    """The matrix W of a graph, see `random_walk`.

    Attributes:
        order: The E' edges into the nodes from `order.first` on.
        shares: (E',), weight of each edge over the sum of those into the same node.
        heard: (V - first, 1), one for nodes that an edge with a weight leads to, else zero.
    """

    order: EdgeOrder
    shares: torch.Tensor
    heard: torch.Tensor


@torch.no_grad()
def random_walk(
    graph: Graph, order: EdgeOrder, unit: torch.Tensor, kinds: dict[EdgeKind, float], color: float, feature: float
) -> Walk:
    """W, at least in single precision and without a gradient.

    Args:
        graph: V nodes; edata ``kind`` and ``feature``.
        order: `edge_order` of it.
        unit: (V, C) features of unit length; only those at the ends of edges with g > 0 matter.
        kinds: The constant g of each kind of edge, not negative; edges of other kinds carry nothing.
        color: c.
        feature: f.
    """
    unit = unit.to(torch.promote_types(unit.dtype, torch.float32))
    scale = unit.new_zeros(len(EdgeKind))
    for kind, value in kinds.items():
        scale[kind] = value
    of_edge = graph.edata["kind"].index_select(0, order.edges).long()
    difference = graph.edata["feature"][:, 0].index_select(0, order.edges).to(unit)
    cosine = edge_dots(None, order, unit[:, None], unit[order.first :, None])[0]
    hindrance = feature * (1 - cosine) + color * difference * (of_edge == EdgeKind.LATTICE)
    weight = scale.index_select(0, of_edge) * torch.exp(-hindrance)
    total = weight.new_zeros(order.size).index_add_(0, order.dst, weight)
    shares = weight / total.clamp_min(torch.finfo(total.dtype).tiny).index_select(0, order.dst)
    return Walk(order, shares, (total > 0).to(total)[:, None])


def diffuse(walk: Walk, start: torch.Tensor, alpha: float, steps: int) -> torch.Tensor:
    """The iteration of the module's text.

    Args:
        walk: W.
        start: (V, C), y0; the nodes before `walk.order.first` keep it.
        alpha: a in [0, 1).
        steps: Number of steps.

    Returns:
        (V - first, C); rows that sum to one keep doing so.
    """
    order, shares = walk.order, walk.shares.to(start)[None]
    fixed, own = start[: order.first], start[order.first :]
    restart, y = (1 - alpha * walk.heard.to(start)) * own, own
    for _ in range(steps):
        y = restart + alpha * sums_in(order, torch.cat([fixed, y])[:, None], shares)[:, 0]
    return y
