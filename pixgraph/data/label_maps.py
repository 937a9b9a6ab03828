"""Data sets whose masks give a class for every pixel, and the counts of their pixels, kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pixgraph.data.base import IGNORE, FewShotDataset, Sample
from pixgraph.data.images import read_mask
from pixgraph.errors import DataError

KEEP_COUNTS_FROM = 500
"""Data sets with at least so many pictures keep their pixel counts on disk; counting is quick below."""


def cache_folder() -> Path:
    """Where pixgraph keeps what it can compute again: `$PIXGRAPH_CACHE`, or `pixgraph` in the user's cache folder."""
    given = os.environ.get("PIXGRAPH_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pixgraph"


class DenseDataset(FewShotDataset):
    """Pictures in which every pixel has a class, only some of which belong to the split.

    `read_mask` hides what the split must not show: a pixel of any class outside `class_names` becomes background, which
    is how HSNet treats novel classes in training pictures (Min et al., ICCV 2021). 255 stays 255.

    Attributes:
        pairs: Published lists of which classes a picture is drawn for: sample key -> class ids; `None` where there is
            no such list and every class that a picture shows counts.
    """

    pairs: Mapping[str, set[int]] | None = None

    @abstractmethod
    def read_labels(self, index: int) -> np.ndarray:
        """Ids of all classes of the data set, hidden ones included: uint8 (H, W), 255 unknown."""

    def read_mask(self, index: int) -> np.ndarray:
        """Class ids of this split, uint8 (H, W): 0 background and hidden classes, 255 ignore.

        Raises:
            DataError: As `FewShotDataset.read_mask`.
        """
        shown = np.zeros(256, np.uint8)
        shown[[IGNORE, *self.class_names]] = [IGNORE, *self.class_names]
        return shown[self.read_labels(index)]

    def mask_state(self) -> str:
        """Text that changes whenever a mask may have changed: the key of the counts on disk."""
        states = ((s.key, s.mask.stat()) for s in self.samples if s.mask is not None)
        return json.dumps([(key, stat.st_size, stat.st_mtime_ns) for key, stat in states])

    @cached_property
    def areas(self) -> dict[int, dict[int, int]]:
        """For each class of the split: sample index -> its pixels, over the labelled (and listed) pictures."""
        found: dict[int, dict[int, int]] = {c: {} for c in self.class_names}
        for index, pixels in enumerate(self._counts()):
            listed = None if self.pairs is None else self.pairs.get(self.samples[index].key, set())
            for c, count in pixels.items():
                if c in found and (listed is None or c in listed):
                    found[c][index] = count
        return found

    def _counts(self) -> list[dict[int, int]]:
        """Pixels of every class in every picture, from disk where they were counted before."""
        if len(self) < KEEP_COUNTS_FROM:
            return self._count()
        key = hashlib.sha256(f"1 {type(self).__name__} {self.mask_state()}".encode()).hexdigest()[:24]
        path = cache_folder() / "areas" / f"{key}.json"
        try:
            stored = json.loads(path.read_text())
            return [{int(c): int(n) for c, n in pixels.items()} for pixels in stored]
        except (OSError, ValueError, AttributeError, TypeError):
            counts = self._count()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
            temporary.write_text(json.dumps(counts))
            temporary.replace(path)
        except OSError:
            pass  # a read-only or full home costs time at the next start, nothing else
        return counts

    def _count(self) -> list[dict[int, int]]:
        counts = []
        quiet = True if len(self) < KEEP_COUNTS_FROM else None
        for index in tqdm(range(len(self)), f"{self.name}: counting pixels", disable=quiet, leave=False):
            pixels = (
                np.bincount(self.read_labels(index).ravel(), minlength=256) if self.has_mask(index) else np.zeros(1)
            )
            counts.append({int(c): int(pixels[c]) for c in np.flatnonzero(pixels) if c not in (0, IGNORE)})
        return counts


class LabelMaps(DenseDataset):
    """Masks stored as pictures of numbers.

    Args:
        name: Name of the data set.
        split: Name of the split.
        class_names: Id to name of the classes that the split shows.
        samples: Pictures and mask files.
        table: Number in the mask file -> class id (0 background, 255 ignore); any other number is an error.
    """

    def __init__(
        self,
        name: str,
        split: str,
        class_names: Mapping[int, str],
        samples: Sequence[Sample],
        table: Mapping[int, int],
    ) -> None:
        super().__init__(name, split, class_names, samples)
        self._known = np.zeros(256, bool)
        self._known[list(table)] = True
        self._table = np.zeros(256, np.uint8)
        self._table[list(table)] = list(table.values())

    def read_labels(self, index: int) -> np.ndarray:
        """Ids of all classes, uint8 (H, W).

        Raises:
            DataError: The mask is missing or broken, has numbers that the data set does not define, or another size
                than the picture.
        """
        path = self.mask_path(index)
        numbers = self.checked_size(index, self.read_numbers(path))
        unknown = np.unique(numbers[~self._known[numbers]])
        if unknown.size:
            raise DataError(
                f"{path}: got the numbers {', '.join(map(str, unknown[:5]))}, unknown to {self.name}; restore the file"
            )
        return self._table[numbers]

    @property
    def has_background(self) -> bool:
        """Whether some number in the mask files means background."""
        return bool((self._known & (self._table == 0)).any())

    def read_numbers(self, path: Path) -> np.ndarray:
        """The numbers of a mask file, uint8 (H, W); a subclass may read other formats."""
        return read_mask(path)
