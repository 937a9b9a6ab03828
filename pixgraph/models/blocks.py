"""A residual block of attention along the edges of a graph, followed by a feed-forward layer."""

from __future__ import annotations

import torch
from torch import nn

from pixgraph.graph.attention import edge_attention
from pixgraph.graph.backend import Graph

EDGE_FEATURES = 3
EDGE_HIDDEN = 16


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
            nn.Sequential(nn.Linear(EDGE_FEATURES, EDGE_HIDDEN), nn.GELU(), nn.Linear(EDGE_HIDDEN, heads))
            if edge_features
            else None
        )
        self.merge = nn.Linear(width, width)
        self.norm_feedforward = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, graph: Graph, x: torch.Tensor, first: int = 0) -> torch.Tensor:
        """New states.

        Args:
            graph: V nodes; edata ``feature`` (E, 3).
            x: (V, N, C) states; N is 1 in the class-agnostic encoder.
            first: Id of the first node whose new state is wanted; those before it only send messages.

        Returns:
            (V - first, N, C).
        """
        nodes, states, width = x.shape
        qkv = self.query_key_value(self.norm_attention(x)).view(nodes, states, 3, self.heads, -1)
        # The states of a node are folded into heads: (V, N, heads, d) -> (V, N * heads, d).
        query, key, value = (part.reshape(nodes, states * self.heads, -1) for part in qkv.unbind(2))
        bias = None if self.edge is None else self.edge(graph.edata["feature"])  # (E, heads)
        message = edge_attention(graph, query, key, value, bias).reshape(nodes, states, width)
        x = x[first:] + self.dropout(self.merge(message[first:]))
        return x + self.dropout(self.feedforward(self.norm_feedforward(x)))
