"""The small network that turns edge features into biases of the attention, in pieces that are not kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

Tensor = torch.Tensor

EDGE_PIECE = 32768
"""Edges whose hidden layers are held at a time: they fit into a processor's cache."""


def edge_bias(first: nn.Linear, last: nn.Linear, feature: Tensor) -> Tensor:
    """The biases ``last(relu(first(feature)))``, an edge a column; differentiable once.

    Of a graph of many edges the hidden layer is by far the largest tensor, so the backward pass computes it again
    (Chen et al. 2016): as fast as to write it into memory and to read it. Edges are columns because a product with so
    few channels is three times as fast that way. Under autocast it is computed in the type of the weights.

    Args:
        first: Linear layer of F to K channels.
        last: Linear layer of K to B channels.
        feature: (F, E).

    Returns:
        (B, E), in the type of the weights.
    """
    with torch.autocast(feature.device.type, enabled=False):
        cast = feature.to(first.weight.dtype)
        return _EdgeBias.apply(cast, first.weight, first.bias, last.weight, last.bias)


class _EdgeBias(torch.autograd.Function):
    """Keeps the features alone."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        """Biases (B, E) of features (F, E)."""
        ctx.save_for_backward(feature, w1, b1, w2)
        out = feature.new_empty(len(w2), feature.shape[1])
        for x, y in zip(feature.split(EDGE_PIECE, 1), out.split(EDGE_PIECE, 1), strict=True):
            torch.addmm(b2[:, None], w2, torch.addmm(b1[:, None], w1, x).relu_(), out=y)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the features, if wanted, and of both layers."""
        feature, w1, b1, w2 = ctx.saved_tensors
        d_feature = torch.empty_like(feature) if ctx.needs_input_grad[0] else None
        d_w1, d_b1, d_w2 = torch.zeros_like(w1), torch.zeros_like(b1), torch.zeros_like(w2)
        with torch.autocast(grad.device.type, enabled=False):
            for start in range(0, feature.shape[1], EDGE_PIECE):
                piece = slice(start, start + EDGE_PIECE)
                x, d_out = feature[:, piece], grad[:, piece]
                hidden = torch.addmm(b1[:, None], w1, x).relu_()  # (K, e)
                d_w2.addmm_(d_out, hidden.t())
                d_hidden = (w2.t() @ d_out).mul_(hidden > 0)
                d_w1.addmm_(d_hidden, x.t())
                d_b1 += d_hidden.sum(1)
                if d_feature is not None:
                    torch.mm(w1.t(), d_hidden, out=d_feature[:, piece])
            return d_feature, d_w1, d_b1, d_w2, grad.sum(1)
