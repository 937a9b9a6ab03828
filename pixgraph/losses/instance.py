"""Agreement of two views as a whole: BYOL's loss, without negatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F

CHANCE = 4.0
"""The loss of directions that have nothing to do with each other."""


def instance_loss(
    first: torch.Tensor, second: torch.Tensor, first_target: torch.Tensor, second_target: torch.Tensor
) -> torch.Tensor:
    """BYOL (Grill et al. 2020, eq. 2) both ways.

        L = mean_b [ 2 - 2 cos(q(z_b), sg(z'_b')) ] + mean_b [ 2 - 2 cos(q(z_b'), sg(z'_b)) ]

    with q(z) the student's predictions, z' the target's projections, b and b' the two views of a picture, and sg no
    gradient. In 0..8; `CHANCE` = 4 for unrelated directions. 0 is both the optimum and collapse. PixPro's instance
    branch is the same less 4.

    Args:
        first: (B, D) or (B, D, H, W) predictions from the first view; a map is averaged over its cells.
        second: (B, D) or (B, D, H, W) predictions from the second view.
        first_target: (B, D) or (B, D, H, W) target of the first view; gets no gradient.
        second_target: (B, D) or (B, D, H, W) target of the second view; gets no gradient.

    Returns:
        A scalar; zero (with gradient zero) for no picture.

    Raises:
        ValueError: The shapes differ.
    """
    shapes = [tuple(t.shape) for t in (first, second, first_target, second_target)]
    if len(set(shapes)) > 1:
        raise ValueError(f"instance_loss: got shapes {', '.join(map(str, shapes))}, expected the same for all four")
    q, q2, z, z2 = (_pooled(t) for t in (first, second, first_target.detach(), second_target.detach()))
    each = 4 - 2 * F.cosine_similarity(q, z2, dim=1) - 2 * F.cosine_similarity(q2, z, dim=1)
    return each.sum() / max(1, len(each))


def _pooled(x: torch.Tensor) -> torch.Tensor:
    """(B, D)."""
    exact = x.to(torch.promote_types(x.dtype, torch.float32))  # half precision is too coarse for the mean
    return exact if exact.ndim == 2 else exact.flatten(2).mean(2)
