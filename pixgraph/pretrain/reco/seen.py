"""What the student said of pictures, at the cells of its embedding: what ReCo contrasts."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from pixgraph.data.base import UNLABELLED
from pixgraph.pretrain.placement import nearest, shrink_label


class Seen(NamedTuple):
    """Cells of B pictures.

    Attributes:
        embedding: (B, D, h, w), with gradient.
        label: (B, h, w) int64.
        valid: (B, h, w) bool: cells that take part.
        probability: (B, C, h, w) of the student, without gradient.
    """

    embedding: torch.Tensor
    label: torch.Tensor
    valid: torch.Tensor
    probability: torch.Tensor


def labelled_cells(logits: torch.Tensor, embedding: torch.Tensor, label: torch.Tensor) -> Seen:
    """Cells of annotated pictures; a cell takes part where the pixel under its centre, or another, is annotated.

    Args:
        logits: (B, C, H', W') of the student, at the embedding's size or finer.
        embedding: (B, D, h, w).
        label: (B, H, W) int64.
    """
    height, width = embedding.shape[2:]
    cells = torch.stack([shrink_label(one, height, width) for one in label])
    return Seen(embedding, cells, cells < UNLABELLED, _probability(logits, embedding))


def pseudo_cells(
    logits: torch.Tensor, embedding: torch.Tensor, label: torch.Tensor, confidence: torch.Tensor, threshold: float
) -> Seen:
    """Cells of pictures with pseudo labels; a cell takes part where the pixel under its centre is confident enough.

    Args:
        logits: (B, C, H', W') of the student, at the embedding's size or finer.
        embedding: (B, D, h, w).
        label: (B, H, W) int64.
        confidence: (B, H, W) of the labels, in 0..1.
        threshold: Least confidence.
    """
    rows, columns = (nearest(a, b).to(label.device) for a, b in zip(label.shape[1:], embedding.shape[2:], strict=True))
    cells, sure = (part[:, rows[:, None], columns] for part in (label, confidence))
    return Seen(embedding, cells, (cells < UNLABELLED) & (sure >= threshold), _probability(logits, embedding))


def _probability(logits: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    logits, size = logits.detach().float(), tuple(embedding.shape[2:])
    if tuple(logits.shape[2:]) != size:
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return logits.softmax(1)
