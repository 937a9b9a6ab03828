"""A data set without some of its classes, so that an additional source never shows what shall stay unseen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from pixgraph.data.base import IGNORE, FewShotDataset
from pixgraph.data.file_numbers import FileNumbers
from pixgraph.errors import ConfigError


class Excluding(FewShotDataset):
    """The same pictures; pixels of the excluded classes become 255, neither an example nor a counter-example.

    Names match without regard to case, spaces, hyphens and underscores, so that a list for one data set also works on
    another; an object's name excludes its parts (``bench`` excludes ``bench/leg``). Names that the data set lacks are
    accepted, because other splits and sources have them.

    Args:
        dataset: The data set underneath.
        names: Classes that must not be shown.

    Raises:
        ConfigError: No class is left.
    """

    def __init__(self, dataset: FewShotDataset, names: Iterable[str]) -> None:
        banned = {_plain(name) for name in names}
        hidden = {
            c
            for c, name in dataset.class_names.items()
            if _plain(name) in banned or ("/" in name and _plain(name.split("/")[0]) in banned)
        }
        kept = {c: name for c, name in dataset.class_names.items() if c not in hidden}
        if not kept:
            raise ConfigError(
                f"data.exclude: it names all {len(hidden)} classes of {dataset.name} ({dataset.split}), expected "
                "at least one to stay; shorten the list"
            )
        super().__init__(dataset.name, dataset.split, kept, dataset.samples)
        self.dataset = dataset
        self._hidden = sorted(hidden)

    def has_mask(self, index: int) -> bool:
        """Whether the picture underneath is labelled."""
        return self.dataset.has_mask(index)

    @property
    def has_background(self) -> bool:
        """Whether the data set underneath has background."""
        return self.dataset.has_background

    def read_image(self, index: int) -> np.ndarray:
        """The picture underneath, uint8 (H, W, 3)."""
        return self.dataset.read_image(index)

    def read_mask(self, index: int) -> np.ndarray:
        """Class ids (H, W), 255 also where an excluded class is."""
        return self._shown(self.dataset.read_mask(index))

    def read_partial_mask(self, index: int) -> np.ndarray:
        """The same with 254 where nobody annotated."""
        return self._shown(self.dataset.read_partial_mask(index))

    def file_numbers(self, index: int) -> FileNumbers:
        """Those of the picture underneath."""
        return self.dataset.file_numbers(index)

    def fingerprint(self, index: int) -> str:
        """That of the picture underneath: the picture is the same."""
        return self.dataset.fingerprint(index)

    @cached_property
    def areas(self) -> dict[int, dict[int, int]]:
        """Those of the data set underneath, for the classes that stay."""
        return {c: self.dataset.areas[c] for c in self.class_names}

    def _shown(self, mask: np.ndarray) -> np.ndarray:
        return np.where(np.isin(mask, self._hidden), np.asarray(IGNORE, mask.dtype), mask)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
