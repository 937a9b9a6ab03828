"""PixPro's consistency between the cells of two views that show the same place (Xie et al. 2021), without negatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F

BEST, CHANCE = -4.0, 0.0
"""Of `pixpro_loss`: all pairs agree, which is collapse too; and directions that have nothing to do with each other."""

PAIR_BEST = -2.0
"""Of `pixpro_pair_loss`."""


def pixpro_loss(
    first: torch.Tensor,
    second: torch.Tensor,
    first_target: torch.Tensor,
    second_target: torch.Tensor,
    positive: torch.Tensor,
) -> torch.Tensor:
    """The official loss, over all positive pairs of cells.

        L = -2 mean_b [ mean_{(i,j) in P_b} cos(y_i, sg(x'_j)) + mean_{(i,j) in P_b} cos(y'_j, sg(x_i)) ]

    with y, y' the propagated maps of the student's first and second view, x, x' those of the target, P_b the positive
    pairs of picture b, and sg no gradient. A picture without pairs adds 0 and counts in the mean. In -4..4; `CHANCE`
    = 0 for unrelated directions. -4 is both the optimum and collapse: the value alone says nothing, watch
    `pixgraph.pretrain.monitors`.

    Args:
        first: (B, C, H, W) or (B, C, N) the student's map of the first view, of any length.
        second: (B, C, H, W) or (B, C, M) the student's map of the second view.
        first_target: The target's map of the first view, shaped like `first`; gets no gradient.
        second_target: The target's map of the second view, shaped like `second`; gets no gradient.
        positive: (B, N, M) bool; cell i of the first view and j of the second show the same place.

    Returns:
        A scalar; zero (with gradient zero) without any pair.

    Raises:
        ValueError: The shapes do not fit.
    """
    y, y2, x, x2 = (_vectors(t) for t in (first, second, first_target.detach(), second_target.detach()))
    check_maps("pixpro_loss", y, y2, x, x2, positive)
    image, i, j = positive.nonzero(as_tuple=True)  # (P,): few of the N M possible ones
    agreement = F.cosine_similarity(y[image, i], x2[image, j], dim=1)
    agreement = agreement + F.cosine_similarity(y2[image, j], x[image, i], dim=1)
    count = torch.bincount(image, minlength=len(positive)).clamp_min(1)
    return -2 * (agreement / count[image]).sum() / max(1, len(positive))


def pixpro_pair_loss(
    first: torch.Tensor,
    second: torch.Tensor,
    first_target: torch.Tensor,
    second_target: torch.Tensor,
    count: int | None = None,
) -> torch.Tensor:
    """The same agreement over pairs that were drawn, without the factor 2.

        L = -(1/n) sum_p [ cos(y_p, sg(x'_p)) + cos(y'_p, sg(x_p)) ]

    In -2..2; 0 for unrelated directions, -2 at the optimum and at collapse.

    Args:
        first: (P, C) the student's vectors at the pairs' pixels of the first view, of any length.
        second: (P, C) the student's vectors at their pixels of the second view.
        first_target: (P, C) the target's vectors of the first view; gets no gradient.
        second_target: (P, C) the target's vectors of the second view; gets no gradient.
        count: n, where pairs that could not be drawn shall count as 0; `None`: P.

    Returns:
        A scalar; zero (with gradient zero) without any pair.

    Raises:
        ValueError: The shapes differ.
    """
    shapes = [tuple(t.shape) for t in (first, second, first_target, second_target)]
    if len(set(shapes)) > 1:
        raise ValueError(f"pixpro_pair_loss: got shapes {', '.join(map(str, shapes))}, expected the same for all four")
    y, y2, x, x2 = (_exact(t) for t in (first, second, first_target.detach(), second_target.detach()))
    agreement = F.cosine_similarity(y, x2, dim=1) + F.cosine_similarity(y2, x, dim=1)
    return -agreement.sum() / max(1, len(first) if count is None else count)


def check_maps(
    name: str,
    first: torch.Tensor,
    second: torch.Tensor,
    first_target: torch.Tensor,
    second_target: torch.Tensor,
    positive: torch.Tensor,
) -> None:
    """Refuse maps (B, N, C), (B, M, C) of two views and pairs (B, N, M) that do not belong together.

    Raises:
        ValueError: They do not.
    """
    pairs = (first.shape[0], first.shape[1], second.shape[1])
    if first.shape != first_target.shape or second.shape != second_target.shape or positive.shape != pairs:
        got = ", ".join(str(tuple(t.shape)) for t in (first, second, first_target, second_target, positive))
        raise ValueError(
            f"{name}: got vectors (B, cells, C) and pairs of shapes {got}; expected a target like each view, and pairs "
            f"{pairs}"
        )


def _exact(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))  # half precision is too coarse for the mean


def _vectors(x: torch.Tensor) -> torch.Tensor:
    """A map (B, C, ...) as (B, N, C)."""
    return _exact(x).flatten(2).transpose(1, 2)
