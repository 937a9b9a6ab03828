"""From the name of a device, as users write it, to the `torch.device` that is really there."""

from __future__ import annotations

import re

import torch

from pixgraph.errors import ConfigError, DependencyError

_CUDA = re.compile(r"cuda(?::(\d+))?")


def resolve_device(name: str = "auto", local_rank: int = 0) -> torch.device:
    """The device called `name`, checked to be there.

    Args:
        name: ``"auto"`` (a CUDA GPU where there is one, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:INDEX"`` or
            ``"mps"``.
        local_rank: Position of this process among those of the machine: ``"auto"`` and ``"cuda"`` give process r GPU r.

    Raises:
        ConfigError: `name` is none of the above.
        DependencyError: The device is not there.
    """
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise DependencyError("device: got 'mps', but torch finds no Apple GPU here; use --device cpu")
        return torch.device("mps")
    match = _CUDA.fullmatch(name)
    if match is None and name != "auto":
        raise ConfigError(f"device: got {name!r}, expected auto, cpu, cuda, cuda:INDEX or mps")
    if not torch.cuda.is_available():
        if name == "auto":
            return torch.device("cpu")
        raise DependencyError(f"device: got {name!r}, but torch {torch.__version__} {_why_no_cuda()}; use --device cpu")
    count = torch.cuda.device_count()
    index = int(match.group(1)) if match is not None and match.group(1) else local_rank % count
    if index >= count:
        raise DependencyError(f"device: got {name!r}, but there are only cuda:0 to cuda:{count - 1}")
    return torch.device("cuda", index)


def _why_no_cuda() -> str:
    """What a user must mend: the installed torch, or the machine."""
    if torch.version.cuda is None and torch.version.hip is None:
        return "is built without CUDA"
    return "finds no usable CUDA device or driver"
