"""Labels that spread from marked nodes over a graph until nothing changes: the random walker with a prior."""

from __future__ import annotations

import torch

STEPS = 200
"""Most steps of the conjugate gradients; a lattice of 64 x 64 nodes takes about half of them."""

TOLERANCE = 1e-4
"""Largest residual, relative to the right-hand side, at which they stop."""


def spread_labels(
    src: torch.Tensor,
    dst: torch.Tensor,
    weight: torch.Tensor,
    prior: torch.Tensor,
    fixed: torch.Tensor,
    restart: torch.Tensor | float,
) -> torch.Tensor:
    """Every free node has the weighted mean of its neighbours' labels and of its own prior.

        y_i = (sum_j w_ij y_j + r_i p_i) / (sum_j w_ij + r_i),   y_i = p_i where i is fixed

    is the limit of message passing y <- W y with restarts (Zhou et al. 2004), and with r = 0 the random walker (Grady
    2006): y_in is the chance that a walk from i meets a fixed node of label n first. It is found by conjugate gradients
    with the diagonal as preconditioner.

    Args:
        src: (E,) int64; each edge must stand in both directions.
        dst: (E,) int64.
        weight: (E,) positive, the same in both directions.
        prior: (V, L) p; rows sum to one.
        fixed: (V,) bool: nodes that keep their prior.
        restart: r, () or (V,), at least 0; a free node that no path joins to a fixed one needs r > 0.

    Returns:
        (V, L) y; rows sum to one.
    """
    count = len(prior)
    free = (~fixed)[:, None].to(prior)
    degree = prior.new_zeros(count).index_add_(0, dst, weight) + restart
    matrix = torch.sparse_coo_tensor(torch.stack([dst, src]), weight, (count, count), check_invariants=False).coalesce()

    def apply(x: torch.Tensor) -> torch.Tensor:
        """The system's matrix times (V, L), zero at fixed nodes."""
        return free * (degree[:, None] * x - matrix @ x)

    known = prior * (1 - free)
    goal = free * (torch.as_tensor(restart).to(prior).expand(count)[:, None] * prior + matrix @ known)
    inverse = 1 / degree.clamp_min(1e-12)[:, None]
    y = free * prior
    residual = goal - apply(y)
    direction = z = inverse * residual
    product = (residual * z).sum(0)
    enough = TOLERANCE**2 * goal.square().sum(0).clamp_min(1e-20)
    for _ in range(STEPS):
        if (residual.square().sum(0) <= enough).all():
            break
        image = apply(direction)
        step = product / (direction * image).sum(0).clamp_min(1e-30)
        y = y + step * direction
        residual = residual - step * image
        z = inverse * residual
        following = (residual * z).sum(0)
        direction = z + following / product.clamp_min(1e-30) * direction
        product = following
    y = (known + y).clamp_min(0)
    return y / y.sum(1, keepdim=True).clamp_min(1e-12)
