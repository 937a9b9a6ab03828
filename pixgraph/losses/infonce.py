"""Unsupervised node contrast between two views of the same nodes."""

from __future__ import annotations

import math

import torch
from torch.utils.checkpoint import checkpoint


def node_infonce(
    first: torch.Tensor, second: torch.Tensor, temperature: float = 0.1, chunk: int | None = None
) -> torch.Tensor:
    """GRACE (Zhu et al. 2020, eq. 1) with inter-view and intra-view negatives, the node itself excluded.

        l(u_i, v_i) = -log( e^{u_i.v_i/t} / (e^{u_i.v_i/t} + sum_{k!=i} e^{u_i.v_k/t} + sum_{k!=i} e^{u_i.u_k/t}) )
        J = (1/2n) sum_i [ l(u_i, v_i) + l(v_i, u_i) ]

    ln(2n - 1) when all embeddings are equal.

    Args:
        first: (n, D) unit embeddings u of the nodes in one view.
        second: (n, D) unit embeddings v of the same nodes, in the same order, in the other view.
        temperature: t > 0.
        chunk: Anchors compared at a time, B: the same loss and gradient in O(B n) instead of O(n^2) memory, with the
            similarities computed once more; `None`: all at once.

    Returns:
        A scalar; zero (with gradient zero) for fewer than two nodes.

    Raises:
        ValueError: The shapes differ, or `chunk` is less than one.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"node_infonce: got views {tuple(first.shape)} and {tuple(second.shape)}, expected the same shape"
        )
    if chunk is not None and chunk < 1:
        raise ValueError(f"node_infonce: got chunk {chunk}, expected at least 1, or None for all nodes at once")
    if len(first) < 2:
        return (first.sum() + second.sum()) * 0.0
    exact = torch.promote_types(first.dtype, torch.float32)  # half precision is too coarse for the sums
    u, v = first.to(exact), second.to(exact)
    return (_one_way(u, v, temperature, chunk) + _one_way(v, u, temperature, chunk)) / 2


def infonce_chance(nodes: int) -> float:
    """The loss of equal embeddings, ln(2n - 1)."""
    return math.log(2 * nodes - 1) if nodes > 1 else 0.0


def _one_way(u: torch.Tensor, v: torch.Tensor, temperature: float, chunk: int | None) -> torch.Tensor:
    if chunk is None or chunk >= len(u):
        return _anchors(u, v, temperature, 0, len(u)).mean()
    # Nothing of a chunk is kept but its losses; its similarities are computed again for the gradient.
    parts = [
        checkpoint(_anchors, u, v, temperature, i, i + chunk, use_reentrant=False, preserve_rng_state=False)
        for i in range(0, len(u), chunk)
    ]
    return torch.cat(parts).mean()


def _anchors(u: torch.Tensor, v: torch.Tensor, temperature: float, start: int, stop: int) -> torch.Tensor:
    """l(u_i, v_i) of the nodes start .. stop - 1."""
    rows = u[start:stop]
    between = rows @ v.T / temperature  # (B, n)
    self_pair = torch.zeros_like(between, dtype=torch.bool)
    self_pair.diagonal(start).fill_(True)
    within = (rows @ u.T / temperature).masked_fill(self_pair, -torch.inf)
    return torch.logsumexp(torch.cat([between, within], 1), 1) - between.diagonal(start)
