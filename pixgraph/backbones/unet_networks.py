"""UNets that return the maps of their decoder: a plain one, and one on any encoder of segmentation_models_pytorch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pixgraph.backbones.published import published_network
from pixgraph.backbones.saved import check_name, trained_layer
from pixgraph.backbones.weights import fit_weights, read_weights
from pixgraph.errors import ConfigError

PREFIX = "unet:"
PLAIN = {"unet": 64, "unet-small": 16}
"""Name of a plain UNet to the channels of its finest level; each of the four coarser ones has twice as many."""

_DEPTH = 4


class PlainUNet(nn.Module):
    """The UNet of Ronneberger et al. (2015), padded, with batch norm.

    Five levels of w, 2 w, ... 16 w channels (64 to 1024 for w = 64), two 3 x 3 convolutions each; transposed
    convolutions up; skips by concatenation.

    Args:
        width: Channels w of the finest level.

    Attributes:
        divisor: Sides of a picture must be multiples of it.
    """

    divisor = 1 << _DEPTH

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        channels = [width << i for i in range(_DEPTH + 1)]
        self.down = nn.ModuleList(_twice(a, b) for a, b in zip([3, *channels], channels, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, 2) for c in channels[:-1])
        self.merge = nn.ModuleList(_twice(2 * c, c) for c in channels[:-1])

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Maps of strides 1, 2, 4, 8 of the decoder and 16, the bottleneck, of pictures (B, 3, H, W)."""
        skips = [self.down[0](x)]
        for block in list(self.down)[1:]:
            skips.append(block(nn.functional.max_pool2d(skips[-1], 2)))
        maps = [skips.pop()]
        for skip, up, merge in zip(reversed(skips), reversed(self.up), reversed(self.merge), strict=True):
            maps.append(merge(torch.cat([skip, up(maps[-1])], 1)))
        return maps[::-1]


class EncoderUNet(nn.Module):
    """The UNet of segmentation_models_pytorch without its head; names of weights are the same as there.

    Args:
        name: Encoder, as in `segmentation_models_pytorch.encoders.get_encoder_names()`, or "tu-NAME" for one of timm.
        imagenet: Start from ImageNet weights of the encoder.

    Attributes:
        divisor: Sides of a picture must be multiples of it.

    Raises:
        DependencyError: segmentation_models_pytorch is not installed.
        ConfigError: It has no such encoder, or one that does not halve the picture five times.
        CheckpointError: The ImageNet weights cannot be fetched.
    """

    divisor = 32

    def __init__(self, name: str, imagenet: bool = False) -> None:
        super().__init__()
        unet = published_network("Unet", "unet", name, imagenet)
        self.encoder, self.decoder = unet.encoder, unet.decoder

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Maps of strides 1, 2, 4, 8, 16 of the decoder and 32, the bottleneck, of pictures (B, 3, H, W)."""
        features = list(self.encoder(x))  # strides 1 (the picture), 2, 4, ..., 32
        maps = [self.decoder.center(features[-1])]
        for i, block in enumerate(self.decoder.blocks):
            finer = features[-2 - i]
            # The last block has no skip: stride 1 is the picture itself.
            skip = finer if i + 2 < len(features) else None
            maps.append(block(maps[-1], *finer.shape[2:], skip_connection=skip))
        return maps[::-1]


def is_unet(name: str) -> bool:
    """Whether a backbone's name is that of a UNet."""
    return name in PLAIN or name.startswith(PREFIX)


def load_unet(name: str, weights: str | Path | None) -> tuple[PlainUNet | EncoderUNet, str, str | None]:
    """A UNet with its weights.

    Args:
        name: "unet", "unet-small" or "unet:ENCODER".
        weights: "random"; a file or run folder that holds the whole network, or the encoder alone; `None`: ImageNet's
            for the encoder, a random decoder.

    Returns:
        The network, what its weights were trained on, and the finest level that the training reached; `None`: all.

    Raises:
        ConfigError: The name is unknown, or a plain UNet is given no weights.
        CheckpointError: The weights do not fit, or cannot be fetched.
        DependencyError: segmentation_models_pytorch is not installed.
    """
    if weights is None and name in PLAIN:
        raise ConfigError(f"{name} has no ImageNet weights; give a file or run folder, or 'random', as its weights")
    network = PlainUNet(PLAIN[name]) if name in PLAIN else EncoderUNet(name.removeprefix(PREFIX), weights is None)
    if weights is None:
        return network, "ImageNet-1k (encoder), nothing (decoder)", None
    if weights == "random":
        return network, "nothing (random weights)", None
    tensors, metadata = read_weights(weights)
    check_name(metadata, name, str(weights))
    pretrained_on = metadata.get("pretrained_on", f"weights file {Path(weights).name}")
    if isinstance(network, EncoderUNet) and not any(key.startswith("encoder.") for key in tensors):
        fit_weights(network.encoder, tensors, str(weights), ("fc.", "classifier.", "head."))
        return network, f"{pretrained_on} (encoder), nothing (decoder)", None
    fit_weights(network, tensors, str(weights), ("segmentation_head.", "classification_head."))
    return network, pretrained_on, trained_layer(metadata)


def _twice(before: int, after: int) -> nn.Sequential:
    """Convolution, norm, ReLU, twice; the norm makes a bias superfluous."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
