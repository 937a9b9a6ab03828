"""The connected parts of every class in a mask, and how deep pixels lie inside them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, maximum_filter, minimum_filter
from skimage.measure import label as connected

from pixgraph.data.base import UNLABELLED

SMALLEST = 0.05
"""Parts below this share of the largest one of their class do not count: most are specks of the mask."""


class MaskParts:
    """Parts that are connected by sides or corners, of all classes at once.

    Args:
        mask: Class numbers, uint8 (H, W); 254 and 255 are no classes.

    Attributes:
        numbers: int (H, W): number of each pixel's part, 1..n, 0 for pixels of no class.
        classes: uint8 (n + 1,): class of each part; [0] has no meaning.
        large: Numbers of the parts that count, ascending.
    """

    def __init__(self, mask: np.ndarray) -> None:
        self._codes = np.where(mask < UNLABELLED, mask.astype(np.int16), np.int16(-1))
        self.numbers = connected(self._codes, background=-1, connectivity=2)
        areas = np.bincount(self.numbers.ravel())
        self.classes = np.zeros(len(areas), np.uint8)
        self.classes[self.numbers.ravel()] = mask.ravel()
        largest = np.zeros(256)
        np.maximum.at(largest, self.classes[1:], areas[1:])
        self.large = np.flatnonzero(areas[1:] >= SMALLEST * largest[self.classes[1:]]) + 1

    @cached_property
    def depth(self) -> np.ndarray:
        """Distance to the border of the part, float64 (H, W), the picture's edge included: 1 on its outermost pixels.

        One transform serves all parts: the way from a pixel to another part's border crosses the border of its own.
        """
        framed = np.pad(self._codes, 1, constant_values=-2)
        border = maximum_filter(framed, 3) != minimum_filter(framed, 3)
        return np.asarray(distance_transform_edt(~border)[1:-1, 1:-1] + 1)

    @cached_property
    def deepest(self) -> np.ndarray:
        """Depth of the deepest pixel of each part, float64 (n + 1,)."""
        found = np.zeros(len(self.classes))
        np.maximum.at(found, self.numbers.ravel(), self.depth.ravel())
        return found

    @cached_property
    def windows(self) -> list[tuple[slice, slice]]:
        """Rows and columns that part i + 1 spans."""
        return list(find_objects(self.numbers))

    def of_class(self, c: int) -> np.ndarray:
        """Numbers of the large parts of a class, ascending."""
        return self.large[self.classes[self.large] == c]
