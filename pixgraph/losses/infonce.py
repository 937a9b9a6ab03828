"""Unsupervised node contrast between two views of the same nodes."""

from __future__ import annotations

import torch


def node_infonce(first: torch.Tensor, second: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """GRACE (Zhu et al. 2020, eq. 1) with inter-view and intra-view negatives, the node itself excluded.

        l(u_i, v_i) = -log( e^{u_i.v_i/t} / (e^{u_i.v_i/t} + sum_{k!=i} e^{u_i.v_k/t} + sum_{k!=i} e^{u_i.u_k/t}) )
        J = (1/2n) sum_i [ l(u_i, v_i) + l(v_i, u_i) ]

    ln(2n - 1) when all embeddings are equal.

    Args:
        first: (n, D) unit embeddings u of the nodes in one view.
        second: (n, D) unit embeddings v of the same nodes, in the same order, in the other view.
        temperature: t > 0.

    Returns:
        A scalar; zero (with gradient zero) for fewer than two nodes.

    Raises:
        ValueError: The shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"node_infonce: got views {tuple(first.shape)} and {tuple(second.shape)}, expected the same shape"
        )
    if len(first) < 2:
        return (first.sum() + second.sum()) * 0.0
    exact = torch.promote_types(first.dtype, torch.float32)  # half precision is too coarse for the sums
    u, v = first.to(exact), second.to(exact)
    return (_one_way(u, v, temperature) + _one_way(v, u, temperature)) / 2


def _one_way(u: torch.Tensor, v: torch.Tensor, temperature: float) -> torch.Tensor:
    between = u @ v.T / temperature  # (n, n)
    self_pair = torch.eye(len(u), dtype=torch.bool, device=u.device)
    within = (u @ u.T / temperature).masked_fill(self_pair, -torch.inf)
    return (torch.logsumexp(torch.cat([between, within], 1), 1) - between.diagonal()).mean()
