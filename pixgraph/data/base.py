"""The contract that every data set fulfils: indexed pictures, masks of class ids, and the classes that may be shown."""

from __future__ import annotations

import hashlib
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pixgraph.data.images import image_size, read_image, read_mask
from pixgraph.errors import DataError

if TYPE_CHECKING:
    from pixgraph.data.file_numbers import FileNumbers

IGNORE = 255
"""The label of a pixel that takes no part in any loss or score."""

UNLABELLED = 254
"""The label of a pixel that nobody annotated: it has no class to learn from, and takes part in everything else."""


@dataclass(frozen=True)
class Sample:
    """One picture of a data set.

    Attributes:
        key: Name that is unique in the data set and stable between versions, e.g. ``"bench/12"``.
        image: The picture's file; `None` where the data set generates it.
        mask: The mask's file; `None` where there is none (an unlabelled picture) or it is generated.
    """

    key: str
    image: Path | None = None
    mask: Path | None = None


class FewShotDataset(ABC):  # noqa: B024 - a subclass may replace the readers, none of which is abstract
    """Pictures, masks with class ids as pixel values, and the classes of one split.

    Attributes:
        name: The data set's name, e.g. ``"pascal5i"``.
        split: ``"train"``, ``"val"`` or ``"test"``: which classes (and, where published, which pictures) are meant.
        class_names: Class id (1..254) to name, for the classes of this split only. Pixels of any other class are
            background to an episode.
        samples: The pictures of this split.
    """

    def __init__(self, name: str, split: str, class_names: Mapping[int, str], samples: Sequence[Sample]) -> None:
        self.name = name
        self.split = split
        self.class_names = dict(sorted(class_names.items()))
        self.samples = list(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        counts = f"pictures={len(self)}, classes={len(self.class_names)}"
        return f"{type(self).__name__}({self.name!r}, split={self.split!r}, {counts})"

    def read_image(self, index: int) -> np.ndarray:
        """The picture as uint8 RGB, shape (H, W, 3), EXIF orientation applied.

        Raises:
            DataError: The file is missing, truncated, not a picture, or larger than `images.MAX_PIXELS`.
        """
        path = self.samples[index].image
        if path is None:
            raise DataError(f"{self.name}: sample {self.samples[index].key!r} has no picture file")
        return read_image(path)

    def read_mask(self, index: int) -> np.ndarray:
        """Class ids, uint8, shape (H, W) of the picture's own size: 0 background, 1..254 classes, 255 ignore.

        Raises:
            DataError: There is no mask, or it is broken, of another size than the picture, or has unknown ids.
        """
        return self.checked_size(index, read_mask(self.mask_path(index)))

    def read_partial_mask(self, index: int) -> np.ndarray:
        """The mask with `UNLABELLED` where nobody annotated; `read_mask` has 255 there.

        Raises:
            DataError: As `read_mask`.
        """
        return self.read_mask(index)

    def file_numbers(self, index: int) -> FileNumbers:
        """What numbers mean in the file of a picture's marks.

        They are class ids; in folders of a user's own, what they are in the picture's mask.

        Raises:
            DataError: The picture can have no mask.
        """
        from pixgraph.data.file_numbers import FileNumbers

        background = {0: "background"} if self.has_background else {}
        return FileNumbers({**background, **self.class_names}, np.arange(256, dtype=np.uint8))

    def mask_path(self, index: int) -> Path:
        """The mask's file.

        Raises:
            DataError: The sample has none.
        """
        path = self.samples[index].mask
        if path is None:
            raise DataError(f"{self.name}: sample {self.samples[index].key!r} has no mask")
        return path

    def checked_size(self, index: int, mask: np.ndarray) -> np.ndarray:
        """The mask itself, shape (H, W), after a look at the picture's header.

        Raises:
            DataError: The picture has another size.
        """
        sample = self.samples[index]
        expected = mask.shape if sample.image is None else image_size(sample.image)
        if mask.shape != expected:
            raise DataError(
                f"{sample.mask}: got a mask of {mask.shape[1]} x {mask.shape[0]} pixels, expected {expected[1]} x "
                f"{expected[0]} like {sample.image}; export the mask at the picture's size"
            )
        return mask

    def has_mask(self, index: int) -> bool:
        """Whether the picture is labelled."""
        return self.samples[index].mask is not None

    @property
    def has_background(self) -> bool:
        """Whether pixels of no class, id 0, exist by the definition of the data set."""
        return True

    def fingerprint(self, index: int) -> str:
        """SHA-256 (hex) of the picture's content: the key of cached features. Does not decode the picture."""
        path = self.samples[index].image
        if path is None:
            raise DataError(f"{self.name}: sample {self.samples[index].key!r} has no picture file to hash")
        return hashlib.sha256(path.read_bytes()).hexdigest()

    @cached_property
    def areas(self) -> dict[int, dict[int, int]]:
        """For each class of the split: sample index -> number of its pixels, over the labelled pictures.

        Subclasses whose layout or index file already tells this override it, so that no mask needs to be read.
        """
        found: dict[int, dict[int, int]] = {c: {} for c in self.class_names}
        for index in range(len(self)):
            if self.has_mask(index):
                counts = np.bincount(self.read_mask(index).ravel(), minlength=max(256, *self.class_names, 0) + 1)
                for c in self.class_names:
                    if counts[c]:
                        found[c][index] = int(counts[c])
        return found
