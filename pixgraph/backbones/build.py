"""From a configuration to a backbone."""

from __future__ import annotations

from pixgraph.backbones.base import Backbone
from pixgraph.backbones.filters import FilterBank
from pixgraph.config import BackboneConfig
from pixgraph.errors import ConfigError


def build_backbone(config: BackboneConfig) -> Backbone:
    """The frozen backbone that a configuration names.

    Args:
        config: Its name and weights; see `BackboneConfig`.

    Raises:
        ConfigError: The name is unknown.
        CheckpointError: The weights are missing, broken, or of another network.
        DependencyError: timm is asked for and not installed.
    """
    from pixgraph.backbones.cnn import LEVELS, TorchvisionBackbone
    from pixgraph.backbones.timm_models import PREFIX, TimmBackbone

    if config.name == "filters":
        if config.weights is not None:
            raise ConfigError(
                f"backbone.weights {config.weights!r}: the filters have no weights; drop it, or set --backbone.name to "
                "the network it belongs to"
            )
        return FilterBank()
    if config.name in LEVELS:
        return TorchvisionBackbone(config.name, config.weights)
    if config.name.startswith(PREFIX):
        return TimmBackbone(config.name, config.weights)
    options = ", ".join(["filters", *sorted(LEVELS)])
    raise ConfigError(f"backbone.name {config.name!r} is unknown; expected one of {options}, or timm:NAME")
