"""The pixel classifier on top of an embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class PixelClassifier(nn.Sequential):
    """3 x 3 convolution, batch norm, ReLU, dropout, 1 x 1 convolution, as SPML has it.

    Args:
        channels: D of the embedding.
        hidden: Channels between the convolutions.
        classes: C of the logits.
        dropout: Share of the channels' values that is set to zero in training, .75 in SPML.
    """

    def __init__(self, channels: int, hidden: int, classes: int, dropout: float = 0.75) -> None:
        super().__init__(
            nn.Conv2d(channels, hidden, 3, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(hidden, classes, 1),
        )


def labelled_cross_entropy(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of the cells that have a class; zero (with gradient zero) where none has.

    Args:
        logits: (B, C, h, w).
        label: (B, h, w) int64: 0 .. C - 1, 254, 255.
    """
    known = label < logits.shape[1]
    if not known.any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits.permute(0, 2, 3, 1)[known].float(), label[known])
