"""The graph, features and layer of `speed_attention`: a picture's lattice with three features an edge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from pixgraph.graph.attention import ordered_attention
from pixgraph.graph.backend import Graph, make_graph
from pixgraph.graph.edge_order import EdgeOrder, edge_order
from pixgraph.graph.lattice import lattice_edges
from pixgraph.models.edge_bias import edge_bias

EDGE_FEATURES, EDGE_HIDDEN = 3, 16

Tensor = torch.Tensor


@dataclass(frozen=True)
class Problem:
    """One point of the benchmark.

    Attributes:
        side: The lattice has side * side nodes.
        dilations: How many; each gives four incoming edges to a node away from the border.
        channels: Width of the node features.
        heads: Attention heads; divides `channels`.
        device: Of all tensors.
    """

    side: int = 224
    dilations: int = 4
    channels: int = 64
    heads: int = 4
    device: str = "cpu"

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.side**2

    @cached_property
    def edges(self) -> tuple[Tensor, Tensor]:
        """Sources and destinations (E,) int64, sorted by destination, which is what PyG asks for."""
        steps = {4: [1, 2, 4, 8]}.get(self.dilations, list(range(1, self.dilations + 1)))
        src, dst = lattice_edges(self.side, self.side, steps)
        order = torch.sort(dst, stable=True).indices
        return src[order].to(self.device), dst[order].to(self.device)

    @cached_property
    def feature(self) -> Tensor:
        """Edge features in 0..1, (E, 3)."""
        generator = torch.Generator().manual_seed(1)
        return torch.rand(len(self.edges[0]), EDGE_FEATURES, generator=generator).to(self.device)

    @cached_property
    def states(self) -> Tensor:
        """Node features (V, C)."""
        return torch.randn(self.nodes, self.channels, generator=torch.Generator().manual_seed(0)).to(self.device)

    @cached_property
    def graph(self) -> Graph:
        """The graph without features."""
        return make_graph(*self.edges, self.nodes)

    @property
    def work(self) -> int:
        """Edges times channels: what the time of every layer grows with."""
        return len(self.edges[0]) * self.channels


class EdgeAttentionLayer(nn.Module):
    """Projections, network of the edges, attention and output projection, as in `pixgraph.models.blocks.GraphBlock`.

    Args:
        channels: Width C.
        heads: Attention heads H.
        engine: "torch" or "dgl".
    """

    def __init__(self, channels: int, heads: int, engine: str) -> None:
        super().__init__()
        self.heads, self.engine = heads, engine
        self.query_key_value = nn.Linear(channels, 3 * channels, bias=False)
        self.first, self.last = nn.Linear(EDGE_FEATURES, EDGE_HIDDEN), nn.Linear(EDGE_HIDDEN, heads)
        self.merge = nn.Linear(channels, channels)

    def forward(self, graph: Graph, order: EdgeOrder, x: Tensor, feature: Tensor) -> Tensor:
        """States (V, C) and features (3, E) in the order of the edges to (V, C)."""
        weights = self.query_key_value.weight.chunk(3)
        query, key, value = (nn.functional.linear(x, w).view(len(x), self.heads, -1) for w in weights)
        bias = edge_bias(self.first, self.last, feature)
        message = ordered_attention(graph, order, query, key, value, bias, self.engine)
        return self.merge(message.flatten(1))


class GatherLayer(nn.Module):
    """The same layer by gathers and scatters of all edges at once: what one writes first, and what torch.compile fuses.

    Args:
        channels: Width C.
        heads: Attention heads H.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(channels, 3 * channels, bias=False)
        self.edge = nn.Sequential(nn.Linear(EDGE_FEATURES, EDGE_HIDDEN), nn.ReLU(), nn.Linear(EDGE_HIDDEN, heads))
        self.merge = nn.Linear(channels, channels)

    def forward(self, x: Tensor, src: Tensor, dst: Tensor, feature: Tensor) -> Tensor:
        """States (V, C), edges (E,) and features (E, 3) to (V, C)."""
        query, key, value = (y.view(len(x), self.heads, -1) for y in self.query_key_value(x).chunk(3, -1))
        score = (query[dst] * key[src]).sum(-1) * query.shape[2] ** -0.5 + self.edge(feature)  # (E, H)
        top = score.new_full((len(x), self.heads), float("-inf"))
        top = top.scatter_reduce(0, dst[:, None].expand_as(score), score.detach(), "amax")
        weight = (score - top[dst]).exp()
        total = weight.new_zeros(len(x), self.heads).index_add(0, dst, weight)
        message = (weight / total[dst]).unsqueeze(-1) * value[src]
        return self.merge(torch.zeros_like(value).index_add(0, dst, message).flatten(1))


def ordered(problem: Problem) -> tuple[Graph, EdgeOrder, Tensor]:
    """The graph, its edges in the order of attention, sorted also by source, and the features (3, E) in that order."""
    order = edge_order(problem.graph)
    _ = order.by_source  # is computed when first wanted, by the first backward pass otherwise
    return problem.graph, order, order.sort(problem.feature)
