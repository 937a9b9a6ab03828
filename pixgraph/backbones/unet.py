"""UNets as frozen backbones: the maps of the decoder, and the embedding of every pixel."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from pixgraph.backbones.base import Backbone
from pixgraph.backbones.unet_networks import load_unet

PIXELS = "+pixels"
"""Ending of a name that keeps one vector a pixel."""

_STRIDES = (1, 4, 8, 16)
_CELL = 4


class UNetBackbone(Backbone):
    """The decoder's maps at strides 4, 8 and 16, and its finest map, which pretraining compares.

    The finest map is averaged over cells of 4 x 4 pixels, unless the name ends in "+pixels": a vector for each of 256 x
    256 pixels takes 8 MB of the feature cache a picture, 16 times as much, and nodes at stride 8 are averages in any
    case. Graphs with stride 1 gain from it. The map at stride 2 is left out for the same reason, the encoder's map at
    stride 32 because a method that trusts the coarsest maps most would then overlook the finest. Of weights whose
    training ended with the map at stride 4, as SPML's, the finest map is left out, too.

    Args:
        name: "unet", "unet-small" or "unet:ENCODER", with or without "+pixels".
        weights: See `load_unet`.

    Raises:
        ConfigError: The name is unknown, the file belongs to another network, or a plain UNet is given no weights.
        CheckpointError: The weights do not fit, or cannot be fetched.
        DependencyError: segmentation_models_pytorch is not installed.
    """

    def __init__(self, name: str, weights: str | Path | None = None) -> None:
        network, pretrained_on, last = load_unet(name.removesuffix(PIXELS), weights)
        self.cell = 1 if name.endswith(PIXELS) else _CELL
        finest = "decoder, every pixel" if self.cell == 1 else f"decoder, mean of {_CELL} x {_CELL} pixels"
        titles = {1: finest, **{s: f"decoder, stride {s}" for s in _STRIDES[1:]}}
        self._kept = _STRIDES if last is None else _STRIDES[1:]
        super().__init__(name, pretrained_on, tuple(titles[s] for s in self._kept))
        self.network = network
        self.describe()

    def extract(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of normalised pictures (B, 3, H, W), finest first; sides are ceil(H / stride).

        A side that is no multiple of 16 or 32 is filled up by its last row or column, and the maps are cut again.
        """
        height, width = x.shape[2:]
        below, right = (-side % self.network.divisor for side in (height, width))
        by_stride = {1 << i: m for i, m in enumerate(self.network(F.pad(x, (0, right, 0, below), mode="replicate")))}
        maps = {s: by_stride[s][..., : -(-height // s), : -(-width // s)] for s in self._kept}
        if self.cell > 1 and 1 in maps:
            maps[1] = F.avg_pool2d(maps[1], self.cell, ceil_mode=True)
        return list(maps.values())
