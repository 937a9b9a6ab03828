"""Encoder and projection heads: what the student trains and the target copies."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from pixgraph.errors import ConfigError
from pixgraph.pretrain.config import PixelConfig
from pixgraph.pretrain.encoders import DenseEncoder
from pixgraph.pretrain.heads import Cells, PixelHead
from pixgraph.pretrain.shared_norm import enough_to_normalise


class Projected(NamedTuple):
    """Projected maps of a batch of views.

    Attributes:
        pixel: (B, D, H, W) of the encoder's finest map, or (P, D) of the cells that were asked for.
        bottleneck: (B, D, h, w) of its coarsest map, or none.
        instance: (B, D, h, w) for the instance branch, of the coarsest map, or none.
    """

    pixel: torch.Tensor
    bottleneck: torch.Tensor | None
    instance: torch.Tensor | None


class Branch(nn.Module):
    """An encoder with the projectors of its maps.

    Args:
        encoder: Gives one map, or several, the finest first.
        config: Sizes of the heads; which heads there are.

    Raises:
        ConfigError: A bottleneck is asked of an encoder with one map.
    """

    def __init__(self, encoder: DenseEncoder, config: PixelConfig) -> None:
        super().__init__()
        self.encoder = encoder
        finest, coarsest = encoder.channels[0], encoder.channels[-1]
        if config.bottleneck_weight > 0 and len(encoder.channels) < 2:
            raise ConfigError(
                f"pixel.bottleneck_weight is {config.bottleneck_weight:g}, but {encoder.name} gives one map; "
                "expected a UNet, or a weight of 0"
            )
        self.pixel = PixelHead(finest, config.hidden, config.projection)
        self.bottleneck = _head(coarsest, config) if config.bottleneck_weight > 0 else None
        self.instance = _head(coarsest, config) if config.instance_weight > 0 else None

    def forward(self, pixels: torch.Tensor, at: Cells | None = None) -> Projected:
        """Projected maps of pictures.

        Args:
            pixels: (B, 3, S, S) float in 0..1.
            at: Cells of the finest map; none: all.

        Raises:
            ConfigError: One picture alone, in training, at a map of a single cell, or too small for the encoder.
        """
        with enough_to_normalise(pixels, self.encoder.name):
            maps = self.encoder(pixels)
            bottleneck = None if self.bottleneck is None else self.bottleneck(maps[-1])
            instance = None if self.instance is None else self.instance(maps[-1])
            return Projected(self.pixel(maps[0], at), bottleneck, instance)


def _head(channels: int, config: PixelConfig) -> PixelHead:
    return PixelHead(channels, config.hidden, config.projection)
