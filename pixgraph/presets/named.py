"""Reads the presets: ``fast``, ``balanced`` and ``best``, chosen by `pixgraph study` on validation classes."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pixgraph.errors import ConfigError

if TYPE_CHECKING:
    from pixgraph.config import GraphConfig

PRESETS = ("fast", "balanced", "best")
"""Their names; each is a file ``NAME.yaml`` beside this one, as `pixgraph study` writes it to ``recommended/``."""


def preset_settings(name: str) -> dict[str, Any]:
    """The settings of a preset, as a file for ``--config`` holds them: ``{"graph": {...}}``.

    Raises:
        ConfigError: There is no such preset.
    """
    import yaml

    if name not in PRESETS:
        raise ConfigError(f"preset: got {name!r}, expected one of {', '.join(PRESETS)}")
    text = files("pixgraph.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    settings: dict[str, Any] = yaml.safe_load(text)
    return settings


def preset_graph(name: str) -> GraphConfig:
    """The construction of the graph of a preset.

    Example:
        >>> preset_graph("balanced").stride
        8

    Raises:
        ConfigError: There is no such preset.
    """
    from pixgraph.config import GraphConfig
    from pixgraph.config_check import build

    return build(GraphConfig, preset_settings(name)["graph"], "graph")
