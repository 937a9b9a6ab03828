"""Files of weights: read without ever running code from them, and fitted into a network key by key."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from pixgraph.errors import CheckpointError

_WRAPPERS = ("state_dict", "model", "backbone", "model_state_dict")
_SHOWN = 3
# What torch's unpickler raises on bytes that are none.
_NOT_A_PICKLE = (RuntimeError, EOFError, ValueError, LookupError, OSError, AttributeError, TypeError)


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors of a safetensors file or of a `torch.save`d state_dict, by content and not by extension.

    Args:
        path: The file, or a folder that holds one file of weights (``backbone.safetensors``, or the only safetensors).

    Returns:
        Name to tensor, and the file's own text metadata (empty for a state_dict).

    Raises:
        CheckpointError: The file is missing, empty, truncated, holds pickled code, or no tensors.
    """
    file = find_weights(Path(path))
    if is_safetensors(file):
        tensors, metadata = _read_safetensors(file)
    else:
        tensors, metadata = _read_pickle(file), {}
    if not tensors:
        raise CheckpointError(f"weights {file}: holds no tensors, expected a safetensors file or a state_dict")
    return {key.removeprefix("module."): value for key, value in tensors.items()}, metadata


def fit_weights(
    network: nn.Module, tensors: Mapping[str, torch.Tensor], source: str, optional: tuple[str, ...]
) -> None:
    """Loads tensors into a network; every key must fit, except a classification head that may be missing.

    Args:
        network: Receives the weights.
        tensors: Name to tensor.
        source: What to call the weights in an error.
        optional: Prefixes of keys that may be missing or superfluous: the head, which a backbone does not use.

    Raises:
        CheckpointError: Keys are missing, unexpected or of another shape; the first of them are named.
    """
    own = network.state_dict()
    tensors = {key: value for key, value in tensors.items() if not key.startswith(optional)}
    wanted = {key for key in own if not key.startswith(optional)}
    missing = [k for k in own if k in wanted and k not in tensors and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in tensors if k not in wanted]
    reshaped = [k for k in own if k in wanted and k in tensors and own[k].shape != tensors[k].shape]
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:_SHOWN])}{', ...' if len(keys) > _SHOWN else ''})"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if keys
    ]
    if problems:
        raise CheckpointError(
            f"weights {source} belong to another network than {type(network).__name__}: keys {'; '.join(problems)}; "
            "give the file that fits, or name the network that the file is of"
        )
    network.load_state_dict(tensors, strict=False)


def is_safetensors(file: Path) -> bool:
    """Whether a file begins as safetensors do, whatever its name.

    Raises:
        CheckpointError: It is empty.
    """
    with file.open("rb") as handle:
        head = handle.read(9)
    if not head:
        raise CheckpointError(f"weights {file}: the file is empty; copy or download it again")
    return head[8:9] == b"{"


def truncated(file: Path, error: SafetensorError) -> CheckpointError:
    """The error for a file that safetensors cannot read."""
    return CheckpointError(f"weights {file}: truncated or not a safetensors file ({error}); copy or download it again")


def find_weights(path: Path) -> Path:
    """The file itself, or the one file of weights in a folder.

    Raises:
        CheckpointError: There is no such file, or a folder holds none or several.
    """
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        named = [f for f in files if f.name == "backbone.safetensors"]
        if not named and len(files) != 1:
            raise CheckpointError(
                f"weights {path}: a folder with {len(files)} safetensors files, expected backbone.safetensors or one; "
                "name the file itself"
            )
        return (named or files)[0]
    if not path.is_file():
        raise CheckpointError(f"weights {path}: no such file, expected safetensors or a state_dict; check the path")
    return path


def _read_safetensors(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(file, "pt") as handle:
            return {key: handle.get_tensor(key) for key in handle.keys()}, handle.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise truncated(file, error) from error


def _read_pickle(file: Path) -> dict[str, torch.Tensor]:
    try:
        # Torch remarks on pickle protocols (what follows says whether that matters), and of a path it reads the ending.
        with warnings.catch_warnings(), file.open("rb") as handle:
            warnings.simplefilter("ignore")
            content: Any = torch.load(handle, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"weights {file}: not plain tensors but pickled code (or no weights at all), which is never run; "
            "convert the file to safetensors"
        ) from error
    except _NOT_A_PICKLE as error:
        raise CheckpointError(
            f"weights {file}: truncated, or neither safetensors nor a state_dict; copy or download it again"
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise CheckpointError(f"weights {file}: holds a {type(content).__name__}, expected a dict of tensors")
    return {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
