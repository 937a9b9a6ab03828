"""Heads on top of the encoder's map, used for pretraining alone."""

from __future__ import annotations

import torch
from torch import nn


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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D, H, W)."""
        return self.second(torch.relu_(self.norm(self.first(x))))
