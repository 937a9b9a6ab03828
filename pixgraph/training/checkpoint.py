"""Checkpoints: tensors and plain values in one file that is whole at any moment and never runs code.

A checkpoint is what `torch.save` makes of a dictionary with these entries (version 1):

- ``format``, ``version``, ``pixgraph``: what this is, its layout, the pixgraph that wrote it;
- ``config``: the run's configuration as nested plain values;
- ``channels``, ``strides``, ``backbone``, ``data``: channels and strides of the feature levels, the frozen CNN (name,
  pretrained_on, fingerprint), and a digest of each data set's pictures and classes;
- ``network``, ``average``, ``optimizer``: weights, `WeightAverage` state or none, AdamW state;
- ``step``, ``validated``, ``best``, ``seconds``: optimiser steps done, step of the last validation, its best score,
  time spent.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pixgraph.arguments import checked
from pixgraph.errors import CheckpointError
from pixgraph.training.atomic import write_atomic
from pixgraph.version import __version__

if TYPE_CHECKING:
    from pixgraph.config import Config
    from pixgraph.models.network import PixGraphNet

FORMAT = "pixgraph checkpoint"
VERSION = 1

# What torch and pickle raise on a file that passed the zip check but holds something else.
_UNREADABLE = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, AssertionError)


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write `state` to `path`, all or nothing; a crash at any moment leaves the old file.

    Args:
        path: File to replace; its folder exists.
        state: Tensors, numbers, text, `None`, lists and dictionaries of those.

    Raises:
        CheckpointError: `state` holds anything else (named), the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    _require_plain(state, "state")
    buffer = io.BytesIO()  # serialised in memory, so that every failure of the disk is an OSError
    torch.save({"format": FORMAT, "version": VERSION, "pixgraph": __version__, **state}, buffer)
    try:
        write_atomic(path, buffer.getbuffer())
    except OSError as error:
        raise CheckpointError(
            f"cannot write checkpoint {path}: {error.strerror or error}; the previous one is untouched; "
            "free space or make the folder writable, then continue with --resume"
        ) from error


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; nothing in the file is ever executed, and its checksums are verified.

    Raises:
        CheckpointError: The file is missing, empty, truncated, damaged, holds pickled code, is no checkpoint of
            pixgraph, or was written by a newer one.
    """
    path = Path(path)
    data = _read(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()  # torch itself does not notice a flipped bit in a tensor
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError, RuntimeError) as error:
        kind = "truncated" if data[:4] == b"PK\x03\x04" else "not a checkpoint of pixgraph"
        raise CheckpointError(f"{path} is {kind} ({len(data)} bytes); {_ADVICE}") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: the checksum of its part {damaged!r} is wrong; {_ADVICE}")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds pickled code or objects, which pixgraph never executes; expected tensors and plain values "
            "only: take a checkpoint that pixgraph wrote, or convert the weights to safetensors"
        ) from error
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} is not a checkpoint of pixgraph: {_first_line(error)}; {_ADVICE}") from error
    return _known_version(path, state)


_EXPECTED = "expected a run folder such as runs/demo, or a .pt file"
_ADVICE = "take another one, such as previous.pt or best.pt of the same run"


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and what it was trained on.

    Attributes:
        network: In evaluation mode, with the averaged weights where the run kept an average.
        config: Configuration of its run.
        backbone: ``name``, ``pretrained_on`` and ``fingerprint`` of the frozen CNN whose features it expects.
        step: Optimiser steps it saw.
        best: Step and score of the run's best validation, or `None`.
        path: File it came from.
    """

    network: PixGraphNet
    config: Config
    backbone: dict[str, str]
    step: int
    best: dict[str, Any] | None
    path: Path


def load_network(run: str | Path, device: torch.device | str = "cpu") -> TrainedNetwork:
    """The network of a run folder (its best checkpoint, else its last) or of one checkpoint file, ready to predict.

    Raises:
        CheckpointError: There is none, or it does not load (see `load_checkpoint`), or its weights do not fit.
        ConfigError: Its configuration has keys or values that this version does not know.
    """
    from pixgraph.config import Config
    from pixgraph.config_check import build
    from pixgraph.models.network import PixGraphNet

    path = find_checkpoint(run)
    state = load_trained(path)
    config = build(Config, state["config"])
    network = PixGraphNet(tuple(state["channels"]), config.model, tuple(state["strides"]))
    average = state["average"]
    load_weights(network, state["network"] if average is None else average["weights"], path)
    return TrainedNetwork(
        network.to(device).eval(), config, dict(state["backbone"]), state["step"], state["best"], path
    )


def load_trained(path: Path) -> dict[str, Any]:
    """The checkpoint of a trained GNN.

    Raises:
        CheckpointError: See `load_checkpoint`; or it is of a pretraining, or lacks an entry.
    """
    state = load_checkpoint(path)
    if "method" in state:
        raise CheckpointError(f"{path} is of a pretraining; pass it as --backbone.weights, and train the GNN on it")
    kinds: dict[str, type | tuple[type, ...]] = {"config": dict, "channels": (list, tuple), "strides": (list, tuple)}
    kinds |= {"backbone": dict, "network": dict, "step": int}
    wrong = [name for name, kind in kinds.items() if not isinstance(state.get(name), kind)]
    wrong += [name for name in ("average", "best") if name not in state]
    if wrong:
        raise CheckpointError(f"{path} has no {', '.join(wrong)}, expected the checkpoint of a training; {_ADVICE}")
    return state


def find_checkpoint(run: str | Path) -> Path:
    """The checkpoint meant by a run folder or by a file.

    Raises:
        CheckpointError: There is no such folder or file, or the folder holds no checkpoint.
        ConfigError: It is no path.
    """
    run = Path(checked("checkpoint", run, (str, os.PathLike), "a run folder or a checkpoint file"))
    if not run.is_dir():
        if not run.exists():
            raise CheckpointError(f"no run or checkpoint at {run}; {_EXPECTED}")
        return run
    for name in ("best.pt", "last.pt"):
        for path in (run / "checkpoints" / name, run / name):
            if path.is_file():
                return path
    raise CheckpointError(f"{run} holds no checkpoint; expected {run}/checkpoints/best.pt or last.pt: train it first")


def load_weights(network: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Fill `network` with `weights`, or say how the two differ.

    Raises:
        CheckpointError: Names or shapes differ; the first ones are named.
    """
    own = network.state_dict()
    wrong = [f"{name} is missing" for name in own if name not in weights]
    wrong += [f"{name} is unknown" for name in weights if name not in own]
    wrong += [
        f"{name} has shape {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(
            f"{path} belongs to another model: {'; '.join(wrong[:3])}{more}; use the backbone and model settings "
            "it was trained with (config.yaml beside it)"
        )
    network.load_state_dict(weights)


def _read(path: Path) -> bytes:
    """All bytes of the file, with the operating system's refusals made readable."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}; {_EXPECTED}") from error
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror or error}; {_EXPECTED}") from error
    if not data:
        raise CheckpointError(f"{path} is empty (0 bytes); {_ADVICE}")
    return data


def _known_version(path: Path, state: Any) -> dict[str, Any]:
    """`state` when it is a checkpoint of a layout that this version reads."""
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of pixgraph: it has no entry 'format'; {_ADVICE}")
    version = state.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise CheckpointError(
            f"{path} was written by a newer pixgraph ({state.get('pixgraph')}, layout {version}); this one "
            f"({__version__}) reads layouts up to {VERSION}: upgrade pixgraph"
        )
    return state


def _require_plain(value: Any, where: str) -> None:
    """Refuse what `weights_only=True` would refuse when the file is read back."""
    if value is None or type(value) in (bool, int, float, str, torch.Tensor, nn.Parameter):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            _require_plain(key, f"a key of {where}")
            _require_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for i, item in enumerate(value):
            _require_plain(item, f"{where}[{i}]")
    else:
        raise CheckpointError(
            f"{where} is a {type(value).__name__}; expected tensors, numbers, text, lists and dictionaries"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
