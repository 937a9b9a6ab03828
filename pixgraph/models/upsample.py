"""From node logits to the picture: refinement on the finest feature level, guided by its features and colours."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from pixgraph.graph.interpolation import bilinear_last
from pixgraph.models.channels_last import mix_channels
from pixgraph.models.levels import resample

DETAIL = 16
HIDDEN = 16


class GuidedUpsampler(nn.Module):
    """Adds to the upsampled logits what the finest feature level and the colours say about the boundary.

    A residual form of joint upsampling (Kopf et al. 2007) with learnt filters; it starts as plain bilinear upsampling.
    Where the nodes are already finer than that level it leaves the logits alone.

    Args:
        channels: Channels of the finest level.
        width: Channels of a node state.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.state = nn.Linear(width, DETAIL)
        self.detail = nn.Conv2d(channels + 3, DETAIL, 1)
        self.refine = nn.Sequential(
            nn.Conv2d(2 * DETAIL + 1, HIDDEN, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, 1, 1),
        )
        last = self.refine[-1]
        if isinstance(last, nn.Conv2d):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(
        self, logits: torch.Tensor, states: torch.Tensor, finest: torch.Tensor, rgb: torch.Tensor
    ) -> torch.Tensor:
        """Logits on the grid of the finest level.

        Args:
            logits: (N, rows, columns) of the nodes of one picture.
            states: (N, rows, columns, C) of the same nodes.
            finest: (C_0, h, w) standardised features.
            rgb: (3, H, W) in 0..1.

        Returns:
            (N, h, w), or the logits themselves where the nodes are at least as fine.
        """
        height, width = finest.shape[-2:]
        if logits.shape[-2] >= height:
            return logits
        # Channels last in memory throughout: as the states come, and as convolutions of few channels are fastest.
        coarse = torch.cat([self.state(states), logits[..., None]], 3)
        up = bilinear_last(coarse, height, width).permute(0, 3, 1, 2)  # (N, 17, h, w)
        seen = torch.cat([finest, resample(rgb, height, width)])[None].permute(0, 2, 3, 1)
        guide = mix_channels(seen, self.detail).permute(0, 3, 1, 2).expand(len(up), -1, -1, -1)
        *first, last = self.refine
        hidden = torch.cat([up, guide], 1)
        for layer in first:
            hidden = layer(hidden)
        return up[:, -1] + mix_channels(hidden.permute(0, 2, 3, 1), cast(nn.Conv2d, last))[..., 0]
