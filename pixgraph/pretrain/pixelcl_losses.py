"""The losses of the package pixel-level-contrastive-learning, which differ from the paper's in how they average.

Maps are (B, D, N) with N cells, pairs are bool (1 or B, N, N), one for all pictures or one for each: cell of the online
map, cell of the target's. Without any pair a loss is zero, with gradients of zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def consistency(online: torch.Tensor, target: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Minus the mean cosine over all positive pairs of the batch, in -1..1; collapse: -1.

    Args:
        online: (B, D, N) propagated map, of any length.
        target: (B, D, N) map of the target, without gradient.
        pairs: bool (1 or B, N, N).
    """
    with torch.no_grad():
        # The partners of a cell are summed first: what is kept for the gradient is (B, D, N) and not (B, N, N).
        unit = _unit(target)
        masks = pairs.mT  # (1 or B, N, N)
        if len(pairs) == 1:
            partners = unit @ masks[0].to(unit)
        else:
            partners = torch.stack([vectors @ mask.to(unit) for vectors, mask in zip(unit, masks, strict=True)])
    return -(_unit(online) * partners).sum() / _count(pairs, len(online)).clamp(min=1)


def contrast(online: torch.Tensor, target: torch.Tensor, pairs: torch.Tensor, temperature: float) -> torch.Tensor:
    """Minus the log of the positive pairs' share of all pairs' exp(cosine / temperature), one share for the batch.

    Collapse: the log of the number of pairs over that of positive ones. The paper takes a log for every cell.

    Args:
        online: (B, D, N) projected map, of any length.
        target: (B, D, N) map of the target, without gradient.
        pairs: bool (1 or B, N, N).
        temperature: Above 0.
    """
    scaled = torch.bmm(_unit(online).transpose(1, 2), _unit(target)) / temperature  # (B, N, N)
    # Without a pair all count as such: the loss is then zero, and so is its gradient.
    chosen = pairs | ~pairs.any()
    positive = scaled.masked_fill(~chosen, -torch.inf).flatten().logsumexp(0)
    return scaled.flatten().logsumexp(0) - positive


def agreement(online: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """BYOL's loss 2 - 2 cos of vectors (B, D), each: (B,) in 0..4; collapse: 0."""
    return 2 - 2 * (_unit(online) * _unit(target)).sum(dim=1)


def _unit(x: torch.Tensor) -> torch.Tensor:
    """Vectors along dimension 1 at length one, in at least single precision."""
    return F.normalize(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x, dim=1)


def _count(pairs: torch.Tensor, pictures: int) -> torch.Tensor:
    """Positive pairs of the batch; one mask stands for all of its pictures."""
    return pairs.sum() * (pictures // len(pairs))
