"""Supervised node contrast."""

from __future__ import annotations

import math

import torch

from pixgraph.data.base import UNLABELLED


def supervised_contrast(embedding: torch.Tensor, label: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """SupCon (Khosla et al. 2020, eq. 2, L_out) on nodes.

    With z the unit embeddings, A(i) all nodes but i, and P(i) those of i's label among them,

        L = mean_i -(1/|P(i)|) sum_{p in P(i)} log( exp(z_i . z_p / t) / sum_{a in A(i)} exp(z_i . z_a / t) )

    over the nodes whose P(i) is not empty. ln(n - 1) when all n embeddings are equal.

    Args:
        embedding: (n, D) of unit length.
        label: (n,) int64; nodes labelled 254 or 255 take no part.
        temperature: t > 0.

    Returns:
        A scalar; zero (with gradient zero) when no two nodes share a label.
    """
    known = label < UNLABELLED
    exact = torch.promote_types(embedding.dtype, torch.float32)  # half precision is too coarse for the sums
    z, y = embedding[known].to(exact), label[known]
    n = len(y)
    if n < 2:
        return embedding.sum() * 0.0
    self_pair = torch.eye(n, dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(self_pair, -torch.inf)  # (n, n)
    log_prob = logits - torch.logsumexp(logits, 1, keepdim=True)
    positive = (y[:, None] == y) & ~self_pair
    count = positive.sum(1)
    anchors = count > 0
    if not anchors.any():
        return embedding.sum() * 0.0
    mean_log_prob = log_prob.masked_fill(~positive, 0.0).sum(1) / count.clamp_min(1)
    return -mean_log_prob[anchors].mean()


def supervised_chance(label: torch.Tensor) -> float:
    """The loss of equal embeddings, ln(n - 1) for n nodes of known label; 0 when no two share a label."""
    known = label[label < UNLABELLED]
    return math.log(len(known) - 1) if len(known) > len(known.unique()) else 0.0
