"""The networks that are pretrained: pictures to one or two dense maps, and the file that they leave.

Torchvision's CNNs give one map, that of a layer of choice. UNets give two: the finest, one vector a pixel, and the
bottleneck.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import save
from torch import nn

from pixgraph.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from pixgraph.backbones.cnn import LEVELS, layer_end, load_torchvision, node_names
from pixgraph.backbones.saved import FORMAT
from pixgraph.backbones.unet_networks import PLAIN, is_unet, load_unet
from pixgraph.errors import ConfigError
from pixgraph.training.atomic import write_atomic


class DenseEncoder(nn.Module):
    """A trainable network that gives maps, with normalisation of the picture inside.

    Subclasses implement `maps`, set `network`, whose weights are saved, and call `describe` at the end of their
    constructor.

    Attributes:
        name: What `BackboneConfig.name` calls the network.
        layer: Layer whose map is trained, for torchvision's CNNs.
        pretrained_on: What the weights were trained on before this pretraining.
        channels: Channels of each map.
        strides: Pixels between two neighbouring cells of each map.
        divisor: Sides of a picture must be multiples of it.
    """

    channels: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    divisor = 1
    network: nn.Module
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, name: str, pretrained_on: str, layer: str | None = None) -> None:
        super().__init__()
        self.name = name
        self.layer = layer
        self.pretrained_on = pretrained_on
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Maps of normalised pictures (B, 3, H, W)."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Maps of a batch of pictures.

        Args:
            x: (B, 3, H, W) float in 0..1.

        Returns:
            One (B, C_l, H_l, W_l) map for each of `channels`, the finest first.

        Raises:
            ConfigError: A side of the picture is no multiple of `divisor`.
        """
        height, width = x.shape[2:]
        if height % self.divisor or width % self.divisor:
            raise ConfigError(
                f"{self.name}: got pictures of {width} x {height} pixels, expected multiples of {self.divisor}; "
                "correct views.size"
            )
        return self.maps((x - self.mean) / self.std)

    @torch.no_grad()
    def describe(self, side: int = 64) -> None:
        """Measures `channels` and `strides` on an empty picture of side x side pixels; training mode afterwards."""
        self.eval()
        maps = self(torch.zeros(1, 3, side, side))
        if any(m.ndim != 4 for m in maps):
            shapes = ", ".join(str(tuple(m.shape)) for m in maps)
            raise ConfigError(f"layer {self.layer!r} of {self.name}: got shape {shapes}, expected a map (B, C, H, W)")
        self.channels = tuple(m.shape[1] for m in maps)
        self.strides = tuple(round(side / m.shape[2]) for m in maps)
        self.train()

    def __repr__(self) -> str:
        layer = "" if self.layer is None else f", layer={self.layer!r}"
        return f"{type(self).__name__}({self.name!r}{layer}, channels={self.channels}, strides={self.strides})"


class Kept(Protocol):
    """What `save_backbone` keeps of a trained network.

    Attributes:
        name: What `BackboneConfig.name` calls it.
        layer: Layer with which the weights end; none: all are there.
        network: Whose weights are written.
    """

    name: str
    layer: str | None
    network: nn.Module


class TorchvisionEncoder(DenseEncoder):
    """A torchvision CNN up to a layer; what comes after it is removed.

    Args:
        name: One of `pixgraph.backbones.cnn.LEVELS`.
        weights: See `load_torchvision`.
        layer: Any layer or operation of the network, such as "layer3" or "features.13"; none: its last level.

    Raises:
        ConfigError: There is no such layer, it gives no map, or the weights end before it.
        CheckpointError: The weights do not fit, or cannot be fetched.
    """

    def __init__(self, name: str, weights: str | Path | None, layer: str | None = None) -> None:
        from torchvision.models.feature_extraction import create_feature_extractor

        network, pretrained_on, last = load_torchvision(name, weights)
        layer = layer or last or LEVELS[name][-1]
        _check_layer(network, name, layer, last)
        super().__init__(name, pretrained_on, layer)
        self.network = create_feature_extractor(network, [layer], suppress_diff_warning=True)
        self.describe()

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The layer's map of normalised pictures (B, 3, H, W)."""
        return [self.network(x)[self.layer]]


class UNetEncoder(DenseEncoder):
    """A UNet: its finest map, of one vector a pixel, and its bottleneck.

    Args:
        name: "unet", "unet-small" or "unet:ENCODER".
        weights: See `load_unet`.

    Raises:
        ConfigError: The name is unknown, or a plain UNet is given no weights.
        CheckpointError: The weights do not fit, or cannot be fetched.
        DependencyError: segmentation_models_pytorch is not installed.
    """

    def __init__(self, name: str, weights: str | Path | None) -> None:
        network, pretrained_on, _ = load_unet(name, weights)
        super().__init__(name, pretrained_on)
        self.network = network
        self.divisor = network.divisor
        self.describe()

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Finest map and bottleneck of normalised pictures (B, 3, H, W)."""
        maps = self.network(x)
        return [maps[0], maps[-1]]


def build_encoder(name: str, weights: str | Path | None, layer: str | None = None, seed: int = 0) -> DenseEncoder:
    """The network to pretrain, in training mode.

    Args:
        name: A torchvision CNN, "unet", "unet-small", or "unet:ENCODER" with an encoder of segmentation_models_pytorch.
        weights: "random"; a file of weights or a run folder; `None`: ImageNet's, where they exist.
        layer: Layer of the CNN whose map is trained; none: its last level. UNets take none.
        seed: Seed of the random weights; the global generator is left as it was.

    Raises:
        ConfigError: Name or layer is unknown, or the weights belong to another network.
        CheckpointError: The weights do not fit, or cannot be fetched.
        DependencyError: segmentation_models_pytorch is asked for and not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in LEVELS:
            return TorchvisionEncoder(name, weights, layer)
        if is_unet(name):
            if layer is not None:
                raise ConfigError(f"layer: got {layer!r}, expected none: {name} trains its finest map; leave it out")
            return UNetEncoder(name, weights)
    options = ", ".join([*sorted(LEVELS), *PLAIN])
    raise ConfigError(f"backbone {name!r}: cannot be pretrained; expected one of {options}, or unet:ENCODER")


def save_backbone(encoder: Kept, path: str | Path, pretrained_on: str) -> Path:
    """Write an encoder's weights so that `--backbone.weights` takes them up, by themselves.

    Args:
        encoder: The student.
        path: The file, or the run folder, in which it is called backbone.safetensors.
        pretrained_on: What tables shall say about the weights.

    Returns:
        The file.

    Raises:
        OSError: It cannot be written; an older file stays as it was.
    """
    file = Path(path) / "backbone.safetensors" if Path(path).is_dir() else Path(path)
    metadata = {"format": FORMAT, "name": encoder.name, "pretrained_on": pretrained_on, "layer": encoder.layer or ""}
    tensors = {key: value.detach().cpu().contiguous() for key, value in encoder.network.state_dict().items()}
    write_atomic(file, save(tensors, metadata))
    return file


def _check_layer(network: nn.Module, name: str, layer: str, last: str | None) -> None:
    """Refuse a layer that the network does not have, or that comes after the `last` one whose weights are there."""
    nodes = node_names(network)[1:]  # without the picture itself
    layers = {".".join(node.split(".")[:depth]) for node in nodes for depth in range(1, node.count(".") + 2)}
    if layer not in layers:
        close = get_close_matches(layer, sorted(layers), 3, 0.5)
        hint = f"did you mean {', '.join(close)}? " if close else ""
        blocks = dict.fromkeys(".".join(node.split(".")[:2]) for node in nodes)
        raise ConfigError(
            f"layer: {name} has no {layer!r}; {hint}Its levels are {', '.join(LEVELS[name])}; "
            f"its blocks {', '.join(blocks)}; parts of a block can be named, too"
        )
    if last is not None and layer != last and layer_end(nodes, layer) > layer_end(nodes, last):
        raise ConfigError(
            f"layer: got {layer!r}, but these weights of {name} end with {last!r}; take that, or a finer one"
        )
