"""Torchvision's ImageNet CNNs as frozen backbones."""

from __future__ import annotations

import math
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn

from pixgraph.backbones.base import Backbone
from pixgraph.backbones.weights import fit_weights, read_weights
from pixgraph.errors import CheckpointError

_RESNET = ("layer1", "layer2", "layer3", "layer4")
LEVELS: dict[str, tuple[str, ...]] = {
    # The last map before each stride, and one amid the long stages: semantics grow within a stage, too.
    "mobilenet_v2": tuple(f"features.{i}" for i in (3, 6, 10, 13, 16, 17)),
    "mobilenet_v3_small": tuple(f"features.{i}" for i in (1, 3, 8, 11)),
    "mobilenet_v3_large": tuple(f"features.{i}" for i in (3, 6, 10, 12, 15)),
    "squeezenet1_1": tuple(f"features.{i}" for i in (4, 7, 10, 12)),
    "resnet18": _RESNET,
    "resnet34": _RESNET,
    "resnet50": _RESNET,
    "resnet101": _RESNET,
    "wide_resnet50_2": _RESNET,
    "vgg16": tuple(f"features.{i}" for i in (15, 22, 29)),
    "vgg16_bn": tuple(f"features.{i}" for i in (22, 32, 42)),
    "efficientnet_b0": tuple(f"features.{i}" for i in (2, 3, 5, 7)),
    "convnext_tiny": tuple(f"features.{i}" for i in (1, 3, 5, 7)),
}
"""Torchvision name to the nodes whose outputs are the levels, finest first."""

_HEADS = ("classifier.", "fc.")


class TorchvisionBackbone(Backbone):
    """A torchvision CNN cut at several depths.

    Args:
        name: One of `LEVELS`.
        weights: File for the whole network, or for its `features` alone, with or without the head; `None` fetches
            ImageNet weights; "random" leaves it untrained (tests).

    Raises:
        CheckpointError: The file does not fit, or the ImageNet weights cannot be fetched.
    """

    def __init__(self, name: str, weights: str | Path | None = None) -> None:
        from torchvision.models.feature_extraction import create_feature_extractor

        network, pretrained_on = _load(name, weights)
        super().__init__(name, pretrained_on, LEVELS[name])
        self.body = create_feature_extractor(network.eval(), list(LEVELS[name]))
        self.describe()
        # Unpadded convolutions lose border cells, which on a small picture looks like a larger stride.
        self.strides = tuple(1 << round(math.log2(s)) for s in self.strides)

    def extract(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of normalised pictures (B, 3, H, W), finest first."""
        maps = self.body(x)
        return [maps[level] for level in self.levels]


def _load(name: str, weights: str | Path | None) -> tuple[nn.Module, str]:
    from torchvision.models import get_model

    if weights is None:
        try:
            return get_model(name, weights="DEFAULT"), "ImageNet-1k"
        except (URLError, OSError) as error:
            raise CheckpointError(
                f"ImageNet weights of {name} cannot be fetched ({error}); pass --backbone.weights FILE, "
                "or use --backbone.name filters, which needs none"
            ) from error
    network = get_model(name, weights=None)
    if weights == "random":
        return network, "nothing (random weights)"
    tensors, metadata = read_weights(weights)
    features = getattr(network, "features", None)
    bare = features is not None and not any(key.startswith("features.") for key in tensors)
    if bare:
        tensors = {f"features.{key}": value for key, value in tensors.items() if not key.startswith(_HEADS)}
    fit_weights(network, tensors, str(weights), _HEADS)
    return network, metadata.get("pretrained_on", f"weights file {Path(weights).name}")
