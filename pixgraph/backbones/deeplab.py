"""DeepLabV3+ as a frozen backbone: the maps of its decoder, its representation head and its encoder."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.backbones.base import Backbone
from pixgraph.backbones.deeplab_networks import load_deeplab

_EMBEDDING, _DECODER = "embedding", "decoder, mean of 2 x 2 cells"
_STRIDES = {_EMBEDDING: 4, _DECODER: 8, "encoder, stride 8": 8, "encoder, stride 16": 16, "encoder, last": 16}


class DeepLabBackbone(Backbone):
    """The embedding at stride 4, the decoder's map at stride 8, and the encoder's maps at strides 8, 16 and 16.

    The decoder's map is averaged over 2 x 2 cells: at stride 4 its 256 channels would fill the cache of features. It is
    left out of weights whose training never reached it, as SPML's, and so is the embedding, as in ReCo's without ReCo's
    loss.

    Args:
        name: "deeplabv3plus:ENCODER".
        weights: See `load_deeplab`; the embedding is there when the weights have a representation head.

    Raises:
        ConfigError: The encoder is unknown or cannot be used, or the file belongs to another network.
        CheckpointError: The weights do not fit, or cannot be fetched.
        DependencyError: segmentation_models_pytorch is not installed.
    """

    def __init__(self, name: str, weights: str | Path | None = None) -> None:
        network, pretrained_on, last = load_deeplab(name, weights)
        if last == "decoder":
            network.representation = None
        left_out = {_EMBEDDING: network.representation is None, _DECODER: last == "representation"}
        if left_out[_DECODER]:
            network.decoder.block2 = nn.Identity()  # what nobody takes is not computed
        super().__init__(name, pretrained_on, tuple(level for level in _STRIDES if not left_out.get(level)))
        self.network = network
        self.describe()

    def extract(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of normalised pictures (B, 3, H, W), finest first; sides are ceil(H / stride).

        A side that is no multiple of 16 is filled up by its last row or column, and the maps are cut again.
        """
        height, width = x.shape[2:]
        below, right = (-side % self.network.divisor for side in (height, width))
        maps = self.network(F.pad(x, (0, right, 0, below), mode="replicate"))
        found = dict(zip(_STRIDES, [maps.embedding, F.avg_pool2d(maps.decoded, 2), *maps.encoded], strict=True))
        chosen = [(found[level], _STRIDES[level]) for level in self.levels]
        return [m[..., : -(-height // s), : -(-width // s)] for m, s in chosen if m is not None]
