"""What the numbers in the files of a data set mean: the same in a mask and in the marks that stand for one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pixgraph.data.base import IGNORE, UNLABELLED


@dataclass(frozen=True)
class FileNumbers:
    """The numbers that the mask or the marks of a picture may hold.

    Attributes:
        names: Number to name; numbers that mean no class are called "background".
        ids: uint8 (256,): class id of each number, 0 background, 254 not marked, 255 unknown.
    """

    names: dict[int, str]
    ids: np.ndarray

    @property
    def background(self) -> int | None:
        """The smallest number of the background, or None where there is none."""
        return min((number for number in self.names if self.ids[number] == 0), default=None)

    def of_ids(self) -> np.ndarray:
        """The smallest number of each class id, uint8 (256,); 255 for ids without one, 254 for 254."""
        found = np.full(256, IGNORE, np.uint8)
        for number in sorted(self.names, reverse=True):
            found[self.ids[number]] = number
        found[[UNLABELLED, IGNORE]] = UNLABELLED, IGNORE
        return found
