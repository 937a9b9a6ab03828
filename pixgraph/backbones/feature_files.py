"""One safetensors file a picture: half-precision features, the small picture, and the size of the original."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save


@dataclass(frozen=True)
class StoredPicture:
    """What is kept of a picture.

    Attributes:
        rgb: (3, S, S) uint8.
        features: One (C_l, H_l, W_l) float16 map a level, finest first.
        size: Height and width of the original.
    """

    rgb: torch.Tensor
    features: tuple[torch.Tensor, ...]
    size: tuple[int, int]

    @property
    def bytes(self) -> int:
        """Memory taken."""
        return self.rgb.nbytes + sum(f.nbytes for f in self.features)

    def to(self, device: torch.device) -> StoredPicture:
        """The same on a device."""
        return StoredPicture(self.rgb.to(device), tuple(f.to(device) for f in self.features), self.size)


class BrokenFileError(Exception):
    """The file is not what `write_features` wrote; the caller computes the features again."""


def write_features(path: Path, stored: StoredPicture) -> None:
    """Writes atomically: a reader, or a process killed meanwhile, never meets half a file.

    Raises:
        OSError: The disk is full or the folder cannot be written; nothing is left behind.
    """
    tensors = {f"level{i}": f.cpu().contiguous() for i, f in enumerate(stored.features)}
    content = save({"rgb": stored.rgb.cpu().contiguous(), "size": torch.tensor(stored.size), **tensors})
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_features(path: Path, size: int, channels: tuple[int, ...]) -> StoredPicture:
    """Reads what `write_features` wrote.

    Args:
        path: The file.
        size: Working size that the picture must have.
        channels: Channels that the levels must have.

    Raises:
        BrokenFileError: The file is truncated or holds something else.
    """
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise BrokenFileError(str(error)) from error
    names = [f"level{i}" for i in range(len(channels))]
    if set(tensors) != {"rgb", "size", *names}:
        raise BrokenFileError(f"got tensors {sorted(tensors)}")
    features = tuple(tensors[name] for name in names)
    found = tuple(f.shape[0] if f.ndim == 3 else None for f in features)
    if tensors["rgb"].shape != (3, size, size) or tensors["size"].shape != (2,) or found != channels:
        raise BrokenFileError(f"got a picture {tuple(tensors['rgb'].shape)} with channels {found}")
    height, width = tensors["size"].tolist()
    return StoredPicture(tensors["rgb"], features, (height, width))
