"""A residual block of attention along the edges of a graph, followed by a feed-forward layer."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.graph.attention import ordered_attention
from pixgraph.graph.backend import Graph
from pixgraph.graph.edge_order import edge_order
from pixgraph.models.edge_bias import edge_bias

EDGE_FEATURES = 3
EDGE_HIDDEN = 16
NODE_PIECE = 8192  # nodes whose hidden layers are held at a time: they fit into a processor's cache

Messages = tuple[torch.Tensor, torch.Tensor]
"""Keys and values (S, N * heads, d) that a block gives to nodes which are remembered."""


class GraphBlock(nn.Module):
    """Pre-norm transformer block (Vaswani et al. 2017) whose attention runs along edges, biased by edge features.

    For head h and an edge from s to t with feature f: score = q_t . k_s / sqrt(d) + MLP(f)[h], softmax over the
    incoming edges of t. A node may carry several states (one a class): they share edges and weights and do not mix.

    Args:
        width: Channels C of a state.
        heads: Attention heads; divides `width`.
        dropout: Dropout inside the block.
        edge_features: Whether the 3-d edge features bias the attention.
    """

    def __init__(self, width: int, heads: int, dropout: float, edge_features: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.edge = (
            nn.Sequential(nn.Linear(EDGE_FEATURES, EDGE_HIDDEN), nn.ReLU(), nn.Linear(EDGE_HIDDEN, heads))
            if edge_features
            else None
        )
        self.merge = nn.Linear(width, width)
        self.norm_feedforward = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, graph: Graph, x: torch.Tensor, known: Messages | None = None, feature: torch.Tensor | None = None
    ) -> torch.Tensor:
        """New states.

        Args:
            graph: V nodes; edata ``feature`` (E, 3).
            x: (V - S, N, C) states; N is 1 in the class-agnostic encoder.
            known: What `messages` gave for the first S nodes, which only send; `None`: S is 0.
            feature: ``feature`` in the order of `edge_order` (3, E'), for who has it already.

        Returns:
            (V - S, N, C).
        """
        order = edge_order(graph, 0 if known is None else len(known[0]))
        normed = self.norm_attention(x)
        query = self._project(normed, 0)
        own = (self._project(normed, 1), self._project(normed, 2))
        key, value = own if known is None else (torch.cat([k, o]) for k, o in zip(known, own, strict=True))
        bias = None
        if self.edge is not None:
            bias = self._biases(order.sort(graph.edata["feature"]) if feature is None else feature)
        message = ordered_attention(graph, order, query, key, value, bias).view(x.shape)
        if len(x) <= NODE_PIECE:
            return self._update(x, message)
        return torch.cat([self._update(*p) for p in zip(x.split(NODE_PIECE), message.split(NODE_PIECE), strict=True)])

    def messages(self, x: torch.Tensor) -> Messages:
        """What nodes with states (S, N, C) send to others in this block."""
        normed = self.norm_attention(x)
        return self._project(normed, 1), self._project(normed, 2)

    def _project(self, x: torch.Tensor, which: int) -> torch.Tensor:
        """Queries, keys or values; the states of a node are folded into heads: (V, N, C) -> (V, N * heads, d)."""
        weight = self.query_key_value.weight.chunk(3)[which]
        return F.linear(x, weight).reshape(len(x), x.shape[1] * self.heads, -1)

    def _biases(self, feature: torch.Tensor) -> torch.Tensor:
        """The small network of the edges, an edge a column: (3, E') -> (heads, E')."""
        first, _, last = cast(nn.Sequential, self.edge)
        return edge_bias(cast(nn.Linear, first), cast(nn.Linear, last), feature)

    def _update(self, x: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
        x = x + self.dropout(self.merge(message))
        return x + self.dropout(self.feedforward(self.norm_feedforward(x)))
