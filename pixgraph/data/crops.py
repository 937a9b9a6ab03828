"""Object crops: every object of a densely labelled data set as a picture of its own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from pixgraph.data.base import IGNORE, FewShotDataset, Sample
from pixgraph.errors import ConfigError


@dataclass(frozen=True)
class _Crop:
    parent: int  # sample index in the data set underneath
    label: int
    number: int  # of the connected component among the picture's components of this class
    box: tuple[int, int, int, int]  # top, left, height, width
    area: int


class ObjectCrops(FewShotDataset):
    """One crop an object: `scale` times the longer side of its box around its centre, clipped to the picture.

    An object is a connected component (8-neighbours) of a class's pixels. The mask shows that object only: other
    objects of the same class in the crop are background, unknown pixels stay 255. Finding the objects reads every mask
    once.

    Args:
        dataset: The data set underneath; its masks hold class ids.
        scale: Side of the crop over the longer side of the object's box, >= 1.
        min_side: Smallest shorter side of an object's box, in pixels; smaller objects are left out.
        most: Most crops of one class from one picture, largest first.

    Raises:
        ConfigError: An argument is out of range.
        DataError: A mask is broken.
    """

    def __init__(self, dataset: FewShotDataset, scale: float = 1.5, min_side: int = 32, most: int = 4) -> None:
        if scale < 1 or min_side < 1 or most < 1:
            raise ConfigError(
                f"crops: got scale {scale}, min_side {min_side}, most {most}, expected 1 or more of each; correct them"
            )
        self.dataset = dataset
        self.scale, self.min_side, self.most = scale, min_side, most
        self._crops = [crop for i in range(len(dataset)) if dataset.has_mask(i) for crop in self._objects(i)]
        samples = [Sample(f"{dataset.samples[c.parent].key}#{c.label}.{c.number}") for c in self._crops]
        super().__init__(dataset.name, dataset.split, dataset.class_names, samples)
        # No mask needs to be read again to know the areas.
        self.areas = {c: {} for c in self.class_names}
        for index, crop in enumerate(self._crops):
            self.areas[crop.label][index] = crop.area

    def has_mask(self, index: int) -> bool:
        """True: only labelled pictures give crops."""
        return 0 <= index < len(self)

    def read_image(self, index: int) -> np.ndarray:
        """The crop, uint8 (h, w, 3)."""
        crop = self._crops[index]
        return np.ascontiguousarray(_cut(self.dataset.read_image(crop.parent), crop.box))

    def read_mask(self, index: int) -> np.ndarray:
        """The object's class id on the object, 255 where unknown, 0 elsewhere; uint8 (h, w)."""
        crop = self._crops[index]
        mask = self.dataset.read_mask(crop.parent)
        pieces = _components(mask == crop.label)
        cut = _cut(mask, crop.box)
        found = np.where(cut == IGNORE, cut, np.zeros_like(cut))
        found[_cut(pieces, crop.box) == crop.number] = crop.label
        return found

    def fingerprint(self, index: int) -> str:
        """SHA-256 (hex) over the fingerprint of the picture underneath and the crop's box."""
        crop = self._crops[index]
        text = f"{self.dataset.fingerprint(crop.parent)} crop {crop.box}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _objects(self, index: int) -> list[_Crop]:
        from scipy.ndimage import find_objects

        mask = self.dataset.read_mask(index)
        crops: list[_Crop] = []
        for label in np.unique(mask):
            if int(label) not in self.dataset.class_names:
                continue
            pieces = _components(mask == label)
            areas = np.bincount(pieces.ravel())
            found = [
                _Crop(index, int(label), number, self._box(where, mask.shape), int(areas[number]))
                for number, where in enumerate(find_objects(pieces), start=1)
                if min(s.stop - s.start for s in where) >= self.min_side
            ]
            crops += sorted(found, key=lambda crop: (-crop.area, crop.number))[: self.most]
        return crops

    def _box(self, where: tuple[slice, slice], size: tuple[int, ...]) -> tuple[int, int, int, int]:
        side = self.scale * max(s.stop - s.start for s in where)
        spans = []
        for s, limit in zip(where, size, strict=True):
            centre = (s.start + s.stop) / 2
            # Never less than the object, however the halves are rounded.
            low = min(s.start, max(0, round(centre - side / 2)))
            high = max(s.stop, min(limit, round(centre + side / 2)))
            spans.append((low, high - low))
        return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def _components(thing: np.ndarray) -> np.ndarray:
    """Connected components of a bool (H, W), numbered from 1 in scan order."""
    from scipy.ndimage import label

    return label(thing, structure=np.ones((3, 3), int))[0]


def _cut(array: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    top, left, height, width = box
    return array[top : top + height, left : left + width]
