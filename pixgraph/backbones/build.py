"""From a configuration to a backbone."""

from __future__ import annotations

from pathlib import Path

from pixgraph.backbones.base import Backbone
from pixgraph.backbones.filters import FilterBank
from pixgraph.config import BackboneConfig
from pixgraph.errors import ConfigError


def build_backbone(config: BackboneConfig) -> Backbone:
    """The frozen backbone that a configuration names.

    A pretraining's file or run folder says which network it belongs to: the name can then be left at "filters".

    Args:
        config: Its name and weights; see `BackboneConfig`.

    Raises:
        ConfigError: The name is unknown, or contradicts what the weights say.
        CheckpointError: The weights are missing, broken, or of another network.
        DependencyError: timm or segmentation_models_pytorch is asked for and not installed.
    """
    from pixgraph.backbones.cnn import LEVELS, TorchvisionBackbone
    from pixgraph.backbones.deeplab import DeepLabBackbone
    from pixgraph.backbones.deeplab_networks import is_deeplab
    from pixgraph.backbones.timm_models import PREFIX, TimmBackbone
    from pixgraph.backbones.unet import PIXELS, UNetBackbone
    from pixgraph.backbones.unet_networks import PLAIN, is_unet

    name = config.name
    if name == "filters":
        if config.weights is None:
            return FilterBank()
        name = _named_by(config.weights)
    if name in LEVELS:
        return TorchvisionBackbone(name, config.weights)
    if is_unet(name.removesuffix(PIXELS)):
        return UNetBackbone(name, config.weights)
    if is_deeplab(name):
        return DeepLabBackbone(name, config.weights)
    if name.startswith(PREFIX):
        return TimmBackbone(name, config.weights)
    options = ", ".join(["filters", *sorted(LEVELS), *PLAIN])
    raise ConfigError(
        f"backbone.name {name!r} is unknown; expected one of {options}, unet:ENCODER, deeplabv3plus:ENCODER, or "
        "timm:NAME"
    )


def _named_by(weights: str) -> str:
    """The network that a file of weights says it belongs to.

    Raises:
        ConfigError: It does not say.
    """
    from pixgraph.backbones.saved import saved_name

    name = saved_name(weights) if Path(weights).exists() else None
    if name is None:
        raise ConfigError(
            f"backbone.weights {weights!r}: the filters have no weights, and this is no pretraining's file or run "
            "folder, which would name its network; drop it, or set --backbone.name to the network it belongs to"
        )
    return name
