"""PixContrast: cells of two views that show the same place against all other cells of the other view."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from pixgraph.losses.pixpro import check_maps

BLOCK = 2**24
"""Similarities that are held at a time, 64 MB in float32; more are computed in parts, and again for the gradient."""


def pixcontrast_loss(
    first: torch.Tensor,
    second: torch.Tensor,
    first_target: torch.Tensor,
    second_target: torch.Tensor,
    positive: torch.Tensor,
    temperature: float = 0.3,
) -> torch.Tensor:
    """PixContrast (Xie et al. 2021, eq. 2), averaged over the cells that have a positive, then over pictures and views.

        L(i) = -log( sum_{j: (i,j) in P} e^{cos(x_i, sg(x'_j))/t} / sum_j e^{cos(x_i, sg(x'_j))/t} )

    with x the student's map of one view and x' the target's of the other, and sg no gradient. ln(M / p_i) on average
    when all vectors are equal, with p_i positives among the M cells (`pixcontrast_chance`); at least 0. A picture
    without pairs adds 0 and counts in the mean.

    Args:
        first: (B, C, H, W) or (B, C, N) the student's map of the first view, of any length.
        second: (B, C, H, W) or (B, C, M) the student's map of the second view.
        first_target: The target's map of the first view, shaped like `first`; gets no gradient.
        second_target: The target's map of the second view, shaped like `second`; gets no gradient.
        positive: (B, N, M) bool; cell i of the first view and j of the second show the same place.
        temperature: t > 0.

    Returns:
        A scalar; zero (with gradient zero) without any pair.

    Raises:
        ValueError: The shapes do not fit.
    """
    x, x2, k, k2 = (_unit(t) for t in (first, second, first_target.detach(), second_target.detach()))
    check_maps("pixcontrast_loss", x, x2, k, k2, positive)
    return (_one_way(x, k2, positive, temperature) + _one_way(x2, k, positive.transpose(1, 2), temperature)) / 2


def pixcontrast_chance(positive: torch.Tensor) -> torch.Tensor:
    """The loss of equal vectors: ln(M / p_i) over the cells with positives, both ways, averaged as the loss is.

    Args:
        positive: (B, N, M) bool.

    Returns:
        A scalar, float32.
    """
    ways = (positive, positive.transpose(1, 2))
    return torch.stack([_chance(way) for way in ways]).mean()


def _one_way(x: torch.Tensor, k: torch.Tensor, positive: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean over the pictures of the mean over the cells x (B, N, C) that have a positive among the keys k (B, M, C)."""
    rows = max(1, BLOCK // max(1, len(x) * k.shape[1]))
    if rows >= x.shape[1]:
        losses = _anchors(x, k, positive, temperature)
    else:
        parts = [
            checkpoint(_anchors, part, k, mask, temperature, use_reentrant=False, preserve_rng_state=False)
            for part, mask in zip(x.split(rows, 1), positive.split(rows, 1), strict=True)
        ]
        losses = torch.cat(parts, 1)
    count = positive.any(2).sum(1).clamp_min(1)  # (B,)
    return (losses.sum(1) / count).sum() / max(1, len(x))


def _anchors(x: torch.Tensor, k: torch.Tensor, positive: torch.Tensor, temperature: float) -> torch.Tensor:
    """L(i), (B, R), of the cells x (B, R, C); zero where there is no positive (B, R, M)."""
    able = positive.any(2)
    logits = torch.bmm(x, k.transpose(1, 2)).to(x.dtype) / temperature  # (B, R, M); autocast leaves half precision
    # A cell without positives keeps all its keys: no logarithm of nothing, whose gradient would be no number.
    right = logits.masked_fill(~positive & able[..., None], -torch.inf).logsumexp(2)
    return (logits.logsumexp(2) - right) * able


def _chance(positive: torch.Tensor) -> torch.Tensor:
    count = positive.sum(2)  # (B, N)
    able = count > 0
    each = torch.log(positive.shape[2] / count.clamp_min(1).float()) * able
    return (each.sum(1) / able.sum(1).clamp_min(1)).sum() / max(1, len(positive))


def _unit(x: torch.Tensor) -> torch.Tensor:
    """Unit vectors (B, N, C) of a map (B, C, ...)."""
    exact = x.to(torch.promote_types(x.dtype, torch.float32))  # half precision is too coarse for the sums
    return F.normalize(exact, dim=1).flatten(2).transpose(1, 2)
