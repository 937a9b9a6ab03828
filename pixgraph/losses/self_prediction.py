"""Support self-prediction: the label of each support node, told from the other ones by attention."""

from __future__ import annotations

import torch

from pixgraph.data.base import UNLABELLED


def self_prediction(
    embedding: torch.Tensor, label: torch.Tensor, temperature: float = 0.1, picture: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of a node's label under attention to the other nodes (NCA, Goldberger et al. 2004, in logarithms).

    With z the unit embeddings and O(i) the other nodes of known label,

        p_i(c) = sum_{j in O(i), y_j = c} e^{z_i.z_j/t} / sum_{j in O(i)} e^{z_i.z_j/t},    L = mean_i -log p_i(y_i)

    over the nodes with a node of their own label among O(i). When all embeddings are equal, p_i(c) is the share of c
    among O(i): mean_i -ln((n_{y_i} - 1) / (n - 1)); at least 0.

    Args:
        embedding: (n, D) of unit length.
        label: (n,) int64; nodes labelled 254 or 255 take no part.
        temperature: t > 0.
        picture: (n,) int64 picture of each node; when given, O(i) has no node of i's own picture.

    Returns:
        A scalar; zero (with gradient zero) when no node can be told from others.
    """
    known = label < UNLABELLED
    exact = torch.promote_types(embedding.dtype, torch.float32)  # half precision is too coarse for the sums
    z, y = embedding[known].to(exact), label[known]
    own = torch.arange(len(y), device=y.device) if picture is None else picture[known]
    other = own[:, None] != own  # (n, n)
    same = other & (y[:, None] == y)
    able = same.any(1)
    if not able.any():
        return embedding.sum() * 0.0
    logits = z[able] @ z.T / temperature  # (anchors, n)
    right = logits.masked_fill(~same[able], -torch.inf).logsumexp(1)
    return (logits.masked_fill(~other[able], -torch.inf).logsumexp(1) - right).mean()


def self_prediction_chance(label: torch.Tensor, picture: torch.Tensor | None = None) -> float:
    """The loss of equal embeddings: what the shares of the labels alone tell."""
    return self_prediction(torch.zeros(len(label), 1, device=label.device), label, 1.0, picture).item()
