"""The pictures of a pretraining: found in folders or data sets, decoded on demand, kept in memory while they fit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional

from pixgraph.config import SourceConfig
from pixgraph.data.catalog import dataset_names, open_dataset
from pixgraph.data.images import image_size, read_image
from pixgraph.data.layout import pictures, some
from pixgraph.errors import ConfigError, DataError
from pixgraph.pretrain.config import PretrainConfig
from pixgraph.pretrain.kept import Kept

DECODED = 2
"""Pictures are kept with a short side of this many view sides: a crop of a quarter of the area still has its pixels."""

CACHE_BYTES = 2**30
"""Memory for decoded pictures, in each process that decodes."""


def find_pictures(data: Sequence[str]) -> list[Path]:
    """The files that a pretraining reads, sorted, each once.

    Args:
        data: Folders, searched with their subfolders, hidden ones left out; or NAME:FOLDER for the training pictures of
            a data set, whose masks are not read.

    Raises:
        ConfigError: Nothing is given, or a data set has no files.
        DataError: A folder is missing, holds no pictures, or is not laid out as the data set is.
    """
    if not data:
        raise ConfigError("data: got nothing, expected folders of pictures or NAME:FOLDER; name at least one")
    return sorted({path for place in data for path in _at(place)})


def open_pictures(config: PretrainConfig) -> Pictures:
    """The pictures that a configuration names, kept as large as its views need them.

    Raises:
        ConfigError: See `find_pictures`.
        DataError: There are none, or all are smaller than a view.
    """
    size = config.views.size
    return Pictures(find_pictures(config.data), config.broken_limit, DECODED * size, size)


def _at(place: str) -> list[Path]:
    """The pictures of one entry."""
    name, colon, root = place.partition(":")
    folder = Path(place).expanduser()
    if colon and name in dataset_names() and not folder.is_dir():
        dataset = open_dataset(SourceConfig(name=name, root=root), "train")
        found = [sample.image for sample in dataset.samples if sample.image is not None]
        if not found:
            raise ConfigError(f"data: {name} generates its pictures, expected files; name a folder instead")
        return [path.resolve() for path in found]
    if not folder.is_dir():
        raise DataError(f"data: no folder {place}; give a folder of pictures, or NAME:FOLDER of a known data set")
    inside = pictures(folder, recursive=True)
    found = [path for path in inside if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not found:
        raise DataError(f"data: {place} holds no pictures, expected JPEG, PNG, ... files; correct the folder")
    return [path.resolve() for path in found]


class Pictures(Dataset[torch.Tensor]):
    """Decoded pictures by number; one that cannot be read is replaced by the next that can.

    The first pictures that fit stay in memory, see `pixgraph.pretrain.kept`.

    Args:
        paths: The files.
        broken_limit: Share of unreadable files, in 0..1, above which reading stops.
        short_side: Pictures are shrunk to this short side in pixels; none: they are left as they are.
        least_side: At least one picture must have a short side as large as this.
        cache_bytes: Memory for decoded pictures.

    Raises:
        DataError: There are no files, or all pictures are smaller than `least_side`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        broken_limit: float,
        short_side: int | None = None,
        least_side: int = 2,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        if not paths:
            raise DataError("pictures: got none, expected at least one file; correct the folders")
        self.paths, self.broken_limit, self.short_side = list(paths), broken_limit, short_side
        # Shared, so that what one worker process finds counts in all of them.
        self._broken = torch.zeros(len(self.paths), dtype=torch.bool).share_memory_()
        self._kept = Kept[torch.Tensor](cache_bytes)
        self._refuse_small(least_side)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"Pictures({len(self)}, broken={self.broken})"

    @property
    def broken(self) -> int:
        """Unreadable files met so far, by any process."""
        return int(self._broken.sum())

    def __getitem__(self, index: int) -> torch.Tensor:
        """Picture `index`, or the next one that is readable: uint8 RGB (3, H, W), upright.

        Raises:
            DataError: More files are unreadable than `broken_limit` allows.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)}")
        for step in range(len(self)):
            picture = self._readable((index + step) % len(self))
            if picture is not None:
                return picture
        raise DataError(f"pictures: none of {len(self)} files can be read, such as {self.paths[index]}; replace them")

    def _readable(self, index: int) -> torch.Tensor | None:
        """Picture `index`, from memory or its file; None where it is broken, which is said once."""
        kept = self._kept.get(index)
        if kept is not None or self._broken[index]:
            return kept
        try:
            picture = self._shrunk(torch.from_numpy(read_image(self.paths[index])).permute(2, 0, 1))
        except DataError as error:
            self._note_broken(index, error)
            return None
        return self._kept.put(index, picture, picture.nbytes)

    def _shrunk(self, picture: torch.Tensor) -> torch.Tensor:
        if self.short_side is None or min(picture.shape[-2:]) <= self.short_side:
            return picture
        return functional.resize(picture, [self.short_side], antialias=True)

    def _note_broken(self, index: int, error: DataError) -> None:
        """Name the file and count it.

        Raises:
            DataError: The share of unreadable files is above the limit.
        """
        self._broken[index] = True
        sys.stderr.write(f"left out: {error}\n")
        if self.broken > self.broken_limit * len(self):
            names = [str(path) for path, broken in zip(self.paths, self._broken.tolist(), strict=True) if broken]
            raise DataError(
                f"pictures: got {self.broken} unreadable of {len(self)} ({some(names, 3)}), expected at most a share "
                f"of {self.broken_limit}; replace or remove them, or raise broken_limit"
            ) from error

    def _refuse_small(self, least: int) -> None:
        """Look at headers until one picture is large enough.

        Raises:
            DataError: None is.
        """
        largest = 0
        for path in self.paths:
            try:
                largest = max(largest, min(image_size(path)))
            except DataError:
                continue  # named when it is its turn to be read
            if largest >= least:
                return
        if largest:
            raise DataError(
                f"pictures: got {len(self)} whose short sides are at most {largest} pixels, expected {least}; "
                "give larger pictures or set views.size lower"
            )
