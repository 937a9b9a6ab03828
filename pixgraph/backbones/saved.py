"""The file that a pretraining leaves: weights of a network with its name, so that the file alone is enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pixgraph.backbones.weights import find_weights, is_safetensors, truncated
from pixgraph.errors import ConfigError

FORMAT = "pixgraph-backbone-1"
"""Value of "format" in the metadata of files that `pixgraph.pretrain.encoders.save_backbone` writes."""


def saved_name(path: str | Path) -> str | None:
    """Name of the network that a file of weights, or the one in a run folder, belongs to; `None` if it does not say.

    Raises:
        CheckpointError: There is no such file, or it is empty or truncated.
    """
    file = find_weights(Path(path))
    if not is_safetensors(file) and file.suffix != ".safetensors":  # a state_dict, which has no place for a name
        return None
    try:
        with safe_open(file, "pt") as handle:
            return _own_name(handle.metadata() or {})
    except SafetensorError as error:
        raise truncated(file, error) from error


def check_name(metadata: Mapping[str, str], name: str, source: str) -> None:
    """Refuse weights that say that they belong to another network.

    Args:
        metadata: Text metadata of the file.
        name: The network that was asked for.
        source: What to call the weights in an error.

    Raises:
        ConfigError: The file names another network.
    """
    own = _own_name(metadata)
    if own is not None and own != name:
        raise ConfigError(
            f"weights {source} belong to backbone {own}, but the backbone asked for is {name}; "
            "leave the name out, or give other weights"
        )


def trained_layer(metadata: Mapping[str, str]) -> str | None:
    """The deepest layer that a file holds, where it does not hold the whole network."""
    return (metadata.get("layer") or None) if _own_name(metadata) else None


def _own_name(metadata: Mapping[str, str]) -> str | None:
    return metadata.get("name") if metadata.get("format") == FORMAT else None
