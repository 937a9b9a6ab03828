"""Torchvision's ImageNet CNNs as frozen backbones."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn
from torch.fx import GraphModule
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pixgraph.backbones.base import Backbone
from pixgraph.backbones.saved import check_name, trained_layer
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
    """A torchvision CNN cut at several depths, its batch normalisation folded into the convolutions before.

    Args:
        name: One of `LEVELS`.
        weights: File for the whole network, or for its `features` alone, with or without the head; a pretraining's
            file or run folder, whose levels end with the layer that it trained; `None` fetches ImageNet weights;
            "random" leaves it untrained (tests).

    Raises:
        CheckpointError: The file does not fit, or the ImageNet weights cannot be fetched.
        ConfigError: The file says that it belongs to another network.
    """

    def __init__(self, name: str, weights: str | Path | None = None) -> None:
        from torchvision.models.feature_extraction import create_feature_extractor

        network, pretrained_on, layer = load_torchvision(name, weights)
        super().__init__(name, pretrained_on, LEVELS[name] if layer is None else levels_up_to(network, name, layer))
        self._channels_last = LEVELS[name] is not _RESNET  # takes 0.4 to 0.8 of the time on a CPU, ResNet's 1.0 to 1.4
        self.body = create_feature_extractor(network.eval(), list(self.levels))
        self.describe()
        # Unpadded convolutions lose border cells, which on a small picture looks like a larger stride.
        self.strides = tuple(1 << round(math.log2(s)) for s in self.strides)
        _ = self.fingerprint  # of the weights as they were given: folded ones are rounded differently by each machine
        self.body = fold_norms(self.body)

    def extract(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of normalised pictures (B, 3, H, W), finest first."""
        if self._channels_last and x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        maps = self.body(x)
        return [maps[level].contiguous() for level in self.levels]


def fold_norms(body: GraphModule) -> nn.Module:
    """The same function with each batch normalisation folded into the convolution before it; evaluation only.

    Args:
        body: A traced network in evaluation mode; its modules are changed.
    """
    from torch.fx.experimental.optimization import fuse

    # Torchvision's blocks of convolution, normalisation and activation are leaves of the graph.
    for block in [module for module in body.modules() if isinstance(module, nn.Sequential)]:
        for i, (first, second) in enumerate(pairwise(list(block))):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                block[i], block[i + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return fuse(body, inplace=True, no_trace=True)


def load_torchvision(name: str, weights: str | Path | None) -> tuple[nn.Module, str, str | None]:
    """A torchvision CNN with its weights.

    Args:
        name: One of `LEVELS`.
        weights: See `TorchvisionBackbone`.

    Returns:
        The network, what its weights were trained on, and the layer after which they are random; `None`: they are all
        there.

    Raises:
        CheckpointError: The file does not fit, or the ImageNet weights cannot be fetched.
        ConfigError: The file says that it belongs to another network.
    """
    from torchvision.models import get_model
    from torchvision.models.feature_extraction import create_feature_extractor

    if weights is None:
        try:
            return get_model(name, weights="DEFAULT"), "ImageNet-1k", None
        except (URLError, OSError) as error:
            raise CheckpointError(
                f"ImageNet weights of {name} cannot be fetched ({error}); pass --backbone.weights FILE "
                "(a pretraining: --weights FILE), or use --backbone.name filters, which needs none"
            ) from error
    network = get_model(name, weights=None)
    if weights == "random":
        return network, "nothing (random weights)", None
    tensors, metadata = read_weights(weights)
    check_name(metadata, name, str(weights))
    pretrained_on = metadata.get("pretrained_on", f"weights file {Path(weights).name}")
    layer = trained_layer(metadata)
    if layer is not None:
        # The extractor shares its layers with the network.
        body = create_feature_extractor(network, [layer], suppress_diff_warning=True)
        fit_weights(body, tensors, str(weights), _HEADS)
        return network, pretrained_on, layer
    features = getattr(network, "features", None)
    bare = features is not None and not any(key.startswith("features.") for key in tensors)
    if bare:
        tensors = {f"features.{key}": value for key, value in tensors.items() if not key.startswith(_HEADS)}
    fit_weights(network, tensors, str(weights), _HEADS)
    return network, pretrained_on, None


def node_names(network: nn.Module) -> list[str]:
    """Names of the layers and operations of a CNN in their order, as `create_feature_extractor` understands them."""
    from torchvision.models.feature_extraction import get_graph_node_names

    return get_graph_node_names(network, suppress_diff_warning=True)[1]


def levels_up_to(network: nn.Module, name: str, layer: str) -> tuple[str, ...]:
    """The levels of a CNN that are computed no later than a layer, and the layer itself as the last.

    Args:
        network: The CNN.
        name: Its name, one of `LEVELS`.
        layer: Name of a layer or operation of it.
    """
    nodes = node_names(network)
    last = layer_end(nodes, layer)
    return (*(level for level in LEVELS[name] if layer_end(nodes, level) < last), layer)


def layer_end(nodes: list[str], layer: str) -> int:
    """Position of the last operation of a layer among `node_names`."""
    return max(i for i, node in enumerate(nodes) if node == layer or node.startswith(f"{layer}."))
