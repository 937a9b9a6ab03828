"""DeepLabV3+ on any encoder of segmentation_models_pytorch, with a representation head beside its decoder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from pixgraph.backbones.published import published_network
from pixgraph.backbones.saved import check_name, trained_layer
from pixgraph.backbones.weights import fit_weights, read_weights

PREFIX = "deeplabv3plus:"
RATES = (6, 12, 18)
"""Dilations of the spatial pyramid at output stride 16, as in the paper of DeepLabV3+ and in ReCo's own network."""
DROPOUT = 0.1
WIDTH = 256
"""Channels of the decoder and inside the representation head."""

_HEAD = "representation."
_OTHER_HEADS = ("segmentation_head.", "classification_head.")


class DeepLabMaps(NamedTuple):
    """What a DeepLabV3+ computes of pictures (B, 3, H, W).

    Attributes:
        decoded: (B, 256, H / 4, W / 4) the decoder's map, from which pixels are classified.
        embedding: (B, D, H / 4, W / 4) of the representation head; none where the network has no such head.
        encoded: Maps of the encoder at strides 8, 16 and 16, the last one dilated.
    """

    decoded: torch.Tensor
    embedding: torch.Tensor | None
    encoded: list[torch.Tensor]


class DeepLab(nn.Module):
    """DeepLabV3+ of segmentation_models_pytorch without its classifier; names of weights are the same as there.

    The representation head of ReCo (Liu et al. 2022) sits beside the decoder's last block and takes the same 304
    channels: the up-sampled spatial pyramid and 48 of the encoder at stride 4.

    Args:
        encoder: As in `segmentation_models_pytorch.encoders.get_encoder_names()`, or "tu-NAME" for one of timm.
        embedding: Channels D of the representation head; none: no head.
        imagenet: Start from ImageNet weights of the encoder.

    Attributes:
        divisor: Sides of a picture must be multiples of it.

    Raises:
        DependencyError: segmentation_models_pytorch is not installed.
        ConfigError: It has no such encoder, or one that cannot be dilated.
        CheckpointError: The ImageNet weights cannot be fetched.
    """

    divisor = 16

    def __init__(self, encoder: str, embedding: int | None = None, imagenet: bool = False) -> None:
        super().__init__()
        settings = {"decoder_atrous_rates": RATES, "decoder_aspp_dropout": DROPOUT, "decoder_channels": WIDTH}
        network = published_network("DeepLabV3Plus", PREFIX[:-1], encoder, imagenet, **settings)
        self.encoder, self.decoder = network.encoder, network.decoder
        joined = WIDTH + self.decoder.block1[0].out_channels
        self.representation = None if embedding is None else representation_head(joined, embedding)

    def forward(self, x: torch.Tensor) -> DeepLabMaps:
        """Maps of normalised pictures (B, 3, H, W)."""
        features = list(self.encoder(x))  # strides 1 (the picture), 2, 4, 8, 16, 16
        fine = self.decoder.block1(features[2])
        joined = torch.cat([self.decoder.up(self.decoder.aspp(features[-1])), fine], 1)
        embedding = None if self.representation is None else self.representation(joined)
        return DeepLabMaps(self.decoder.block2(joined), embedding, features[3:])


def representation_head(channels: int, embedding: int) -> nn.Sequential:
    """3 x 3 convolution, norm, ReLU, 1 x 1 convolution, as in ReCo's network.

    The first one is separable, as the convolutions of this decoder are: with all its weights it alone would cost more
    than the rest of a small network.

    Args:
        channels: Of the map that it takes.
        embedding: Channels that it gives.
    """
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, WIDTH, 1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
        nn.Conv2d(WIDTH, embedding, 1),
    )


def is_deeplab(name: str) -> bool:
    """Whether a backbone's name is that of a DeepLabV3+."""
    return name.startswith(PREFIX)


def load_deeplab(
    name: str, weights: str | Path | None, embedding: int | None = None
) -> tuple[DeepLab, str, str | None]:
    """A DeepLabV3+ with its weights.

    Args:
        name: "deeplabv3plus:ENCODER".
        weights: "random"; a file or run folder that holds the whole network, or the encoder alone; `None`: ImageNet's
            for the encoder, the rest random.
        embedding: Channels of the representation head; one that the file has with other channels is left out, and
            starts anew. None: the head of the file, if there is one.

    Returns:
        The network, what its weights were trained on, and the one of its two ends, "representation" or "decoder", that
        the training reached; `None`: both.

    Raises:
        ConfigError: The encoder is unknown or cannot be used.
        CheckpointError: The weights do not fit, or cannot be fetched.
        DependencyError: segmentation_models_pytorch is not installed.
    """
    encoder = name.removeprefix(PREFIX)
    if weights is None or weights == "random":
        network = DeepLab(encoder, embedding, weights is None)
        return network, "nothing (random weights)" if weights else "ImageNet-1k (encoder), nothing (decoder)", None
    tensors, metadata = read_weights(weights)
    check_name(metadata, name, str(weights))
    pretrained_on = metadata.get("pretrained_on", f"weights file {Path(weights).name}")
    saved = tensors.get(f"{_HEAD}4.weight")
    network = DeepLab(encoder, saved.shape[0] if embedding is None and saved is not None else embedding)
    if not any(key.startswith("encoder.") for key in tensors):
        fit_weights(network.encoder, tensors, str(weights), ("fc.", "classifier.", "head."))
        return network, f"{pretrained_on} (encoder), nothing (decoder)", None
    fits = saved is not None and embedding in (None, saved.shape[0])
    fit_weights(network, tensors, str(weights), _OTHER_HEADS if fits else (*_OTHER_HEADS, _HEAD))
    return network, pretrained_on, trained_layer(metadata)
