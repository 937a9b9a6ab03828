"""Segmentation losses of class logits against a background of zero, for any number of classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pixgraph.data.base import UNLABELLED


def class_targets(label: torch.Tensor, n_way: int, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Soft targets on a coarser grid: the share of each cell that a class covers among the pixels that are known.

    Args:
        label: (H, W) int64 in 0..n_way, or 254 or 255 where it is not known.
        n_way: Number of classes N.
        size: Rows and columns of the grid.

    Returns:
        Targets (N, rows, columns) and weights (rows, columns), the share of known pixels; float32 in 0..1.
    """
    ways = torch.arange(1, n_way + 1, device=label.device)
    planes = torch.cat([label[None] == ways.view(-1, 1, 1), (label < UNLABELLED)[None]]).float()
    pooled = F.adaptive_avg_pool2d(planes, size)
    return pooled[:-1] / pooled[-1:].clamp_min(1e-6), pooled[-1]


def binary_cross_entropy(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of each class against the rest, averaged over classes and known cells.

    -sum_i w_i [t_i log p_i + (1 - t_i) log(1 - p_i)] / sum_i w_i with p = sigmoid(logit); ln 2 at logits of zero.

    Args:
        logits: (N, h, w).
        target: (N, h, w) in 0..1.
        weight: (h, w) at least 0; zero: ignored.

    Returns:
        A scalar; zero where nothing is known.
    """
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(0)
    return (loss * weight).sum() / weight.sum().clamp_min(1e-6)


def soft_dice(logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, smooth: float = 1.0) -> torch.Tensor:
    """Soft Dice loss (Milletari et al. 2016), averaged over the classes.

    1 - (2 sum_i w_i p_i t_i + s) / (sum_i w_i (p_i + t_i) + s) with p = sigmoid(logit); 0 for a perfect answer.

    Args:
        logits: (N, h, w).
        target: (N, h, w) in 0..1.
        weight: (h, w) at least 0.
        smooth: s, which makes an absent class that is found nowhere perfect.

    Returns:
        A scalar in 0..1.
    """
    p = logits.sigmoid() * weight
    t = target * weight
    both = (p * target).sum((1, 2))
    return (1 - (2 * both + smooth) / (p.sum((1, 2)) + t.sum((1, 2)) + smooth)).mean()
