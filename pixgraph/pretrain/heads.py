"""Heads on top of the encoder's map, used for pretraining alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn


class Cells(NamedTuple):
    """Some cells of the maps of a batch.

    Attributes:
        image: (P,) int64 position in the batch.
        cell: (P,) int64, row by row.
    """

    image: torch.Tensor
    cell: torch.Tensor


class PixelHead(nn.Module):
    """1x1 convolution, batch norm, ReLU, 1x1 convolution: a perceptron for each cell.

    PixPro takes it as the projector of its maps, and for the instance branch as projector and predictor.

    Args:
        channels: C of the map.
        hidden: Channels in between.
        out: D of the result.
    """

    def __init__(self, channels: int, hidden: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.BatchNorm2d(hidden)
        self.second = nn.Conv2d(hidden, out, 1)

    def forward(self, x: torch.Tensor, at: Cells | None = None) -> torch.Tensor:
        """(B, C, H, W) to (B, D, H, W), or to (P, D) where only some cells are asked for: the same numbers for less."""
        hidden = torch.relu_(self.norm(self.first(x)))
        if at is None:
            return self.second(hidden)
        rows = hidden.flatten(2)[at.image, :, at.cell]  # (P, hidden)
        return self.second(rows[:, :, None, None])[:, :, 0, 0]
