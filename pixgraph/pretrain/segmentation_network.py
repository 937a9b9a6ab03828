"""Networks that classify and embed every pixel: DeepLabV3+ or a UNet with two heads."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from pixgraph.backbones.deeplab_networks import WIDTH, is_deeplab, load_deeplab, representation_head
from pixgraph.backbones.unet_networks import PLAIN, is_unet, load_unet
from pixgraph.errors import ConfigError
from pixgraph.pretrain.shared_norm import enough_to_normalise

STRIDE = 4
"""Pixels between two neighbouring cells of the embedding."""


class SegmentationNetwork(nn.Module):
    """A network that gives logits and an embedding, with normalisation of the picture inside.

    Subclasses implement `maps`, and set `network`, whose weights make the backbone, and `divisor`.

    Args:
        name: What `BackboneConfig.name` calls the network.
        pretrained_on: What the weights were trained on before this training.
        classes: C, channels of the logits.
        embedding_channels: D, channels of the embedding.

    Attributes:
        network: What is kept of the training; `pixgraph.pretrain.encoders.save_backbone` writes its weights.
        layer: Part of `network` with which the training ends; none: all of it is trained.
        embedding_layer: That part where the embedding alone is trained.
        logits_layer: That part where the logits alone are.
        divisor: Pictures are filled up to multiples of it.
        stride: Pixels between two neighbouring cells of the logits.
    """

    layer: str | None = None
    embedding_layer: str
    logits_layer: str | None = None
    divisor = 1
    stride = STRIDE
    network: nn.Module
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, name: str, pretrained_on: str, classes: int, embedding_channels: int) -> None:
        super().__init__()
        self.name, self.pretrained_on = name, pretrained_on
        self.classes, self.embedding_channels = classes, embedding_channels
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def maps(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and embedding of normalised pictures (B, 3, H, W) whose sides are multiples of `divisor`."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and embedding of every pixel, or of cells of pixels.

        A side that is no multiple of `divisor` is filled up by its last row or column, and the maps are cut again.

        Args:
            x: (B, 3, H, W) float in 0..1.

        Returns:
            (B, C, ceil(H / s), ceil(W / s)) logits, s = `stride`; (B, D, ceil(H / 4), ceil(W / 4)) embedding, of any
            length.

        Raises:
            ConfigError: One picture alone, in training: a DeepLabV3+ normalises its mean over the picture, too.
        """
        height, width = x.shape[2:]
        below, right = (-side % self.divisor for side in (height, width))
        normalised = (x - self.mean) / self.std
        with enough_to_normalise(x, self.name):
            logits, embedding = self.maps(F.pad(normalised, (0, right, 0, below), mode="replicate"))
        return _cut(logits, height, width, self.stride), _cut(embedding, height, width, STRIDE)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, classes={self.classes}, embedding={self.embedding_channels})"


class DeepLabNetwork(SegmentationNetwork):
    """DeepLabV3+: both heads at stride 4; the classifier is a 1 x 1 convolution of the decoder's map.

    Args:
        name: "deeplabv3plus:ENCODER".
        weights: See `load_deeplab`.
        classes: C.
        embedding_channels: D.
    """

    embedding_layer, logits_layer = "representation", "decoder"

    def __init__(self, name: str, weights: str | Path | None, classes: int, embedding_channels: int) -> None:
        network, pretrained_on, _ = load_deeplab(name, weights, embedding_channels)
        super().__init__(name, pretrained_on, classes, embedding_channels)
        self.network = network
        self.divisor = network.divisor
        self.classifier = nn.Conv2d(WIDTH, classes, 1)

    def maps(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and embedding of normalised pictures (B, 3, H, W)."""
        found = self.network(x)
        return self.classifier(found.decoded), found.embedding


class UNetNetwork(SegmentationNetwork):
    """A UNet: logits of every pixel from its finest map, the embedding from the decoder's map at stride 4.

    The backbone that is kept is the UNet; the representation head is not part of it.

    Args:
        name: "unet", "unet-small" or "unet:ENCODER".
        weights: See `load_unet`.
        classes: C.
        embedding_channels: D.
    """

    stride = 1
    embedding_layer = "decoder, stride 4"

    def __init__(self, name: str, weights: str | Path | None, classes: int, embedding_channels: int) -> None:
        network, pretrained_on, _ = load_unet(name, weights)
        super().__init__(name, pretrained_on, classes, embedding_channels)
        self.network = network
        self.divisor = network.divisor
        with torch.no_grad():
            channels = [m.shape[1] for m in network.eval()(torch.zeros(1, 3, 64, 64))]
        network.train()
        self.classifier = nn.Conv2d(channels[0], classes, 1)
        self.representation = representation_head(channels[2], embedding_channels)

    def maps(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and embedding of normalised pictures (B, 3, H, W)."""
        found = self.network(x)
        return self.classifier(found[0]), self.representation(found[2])


def build_segmentation_network(
    name: str, weights: str | Path | None, classes: int, embedding_channels: int = 256, seed: int = 0
) -> SegmentationNetwork:
    """The network to train, in training mode.

    Args:
        name: "deeplabv3plus:ENCODER" or "unet:ENCODER" with an encoder of segmentation_models_pytorch, "unet" or
            "unet-small".
        weights: "random"; a file of weights (of the whole network or of its encoder) or a run folder; `None`:
            ImageNet's for the encoder. Heads start at random, but for the embedding of a file that has one.
        classes: C, channels of the logits.
        embedding_channels: D, channels of the embedding.
        seed: Seed of the random weights; the global generator is left as it was.

    Raises:
        ConfigError: The name is unknown, or the weights belong to another network.
        CheckpointError: The weights do not fit, or cannot be fetched.
        DependencyError: segmentation_models_pytorch is asked for and not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_deeplab(name):
            return DeepLabNetwork(name, weights, classes, embedding_channels)
        if is_unet(name):
            return UNetNetwork(name, weights, classes, embedding_channels)
    options = ", ".join(["deeplabv3plus:ENCODER", "unet:ENCODER", *PLAIN])
    raise ConfigError(f"network {name!r}: cannot be trained to segment; expected one of {options}")


def _cut(maps: torch.Tensor, height: int, width: int, stride: int) -> torch.Tensor:
    return maps[..., : -(-height // stride), : -(-width // stride)]
