"""A sheet of pictures with their points, scribbles, boxes or partial labels, to see what was annotated."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pixgraph.contact_sheet import contact_sheet
from pixgraph.data.annotation_sets import SavedAnnotations
from pixgraph.data.base import UNLABELLED, FewShotDataset
from pixgraph.data.marks import Annotation, thicken

_BACKGROUND = UNLABELLED - 1  # marks of the background are shown in a colour of their own
_THICK = 0.012  # marks are drawn at least so thick, in longer sides of the picture


class MarkedPictures(FewShotDataset):
    """Pictures whose masks are drawings of their annotations: thick enough to survive scaling, boxes as frames.

    Args:
        saved: The annotations; pictures without one are left out.
    """

    def __init__(self, saved: SavedAnnotations) -> None:
        split = saved.split
        names = {c + 1: name for c, name in enumerate(split.names)} | {_BACKGROUND: "background"}
        self.saved, self._indices = saved, sorted(saved.files)
        super().__init__(split.name, split.split, names, [split.dataset.samples[i] for i in self._indices])

    def has_mask(self, index: int) -> bool:
        """True: all have annotations."""
        return True

    def read_image(self, index: int) -> np.ndarray:
        """The picture, uint8 (H, W, 3)."""
        return self.saved.split.read_image(self._indices[index])

    def read_mask(self, index: int) -> np.ndarray:
        """The drawing, uint8 (H, W): class number + 1, 253 background, 254 nothing.

        Raises:
            DataError: The annotation is broken.
        """
        found = self.saved.read(self._indices[index])
        drawing = (
            np.full(self.read_image(index).shape[:2], UNLABELLED, np.uint8) if found.label is None else found.label
        )
        if found.boxes:
            drawing = _frames(found, drawing.shape)
        elif (drawing == UNLABELLED).mean() > 0.9:  # partial labels and masks are large enough as they are
            drawing = thicken(drawing, max(1.5, _THICK * max(drawing.shape) * (2 if found.points else 1)))
        table = np.arange(256, dtype=np.uint8)
        table[: UNLABELLED - 1] += 1
        if self.saved.split.background is not None:
            table[self.saved.split.background] = _BACKGROUND
        return table[drawing]


def annotation_sheet(saved: SavedAnnotations, pictures: int = 24, seed: int = 0) -> Image.Image:
    """A sheet of some annotated pictures, drawn at random.

    Raises:
        DataError: A picture or annotation is broken.
    """
    marked = MarkedPictures(saved)
    order = np.random.default_rng([seed]).permutation(len(marked))[:pictures]
    return contact_sheet(marked, [int(i) for i in order])


def _frames(annotation: Annotation, shape: tuple[int, ...]) -> np.ndarray:
    """The borders of all boxes, smaller ones in front, uint8 (H, W)."""
    drawing = np.full(shape, UNLABELLED, np.uint8)
    line = max(1, round(_THICK * max(shape)))
    for box in sorted(annotation.boxes, key=lambda b: -b.area):
        window = drawing[box.y1 : box.y2, box.x1 : box.x2]
        for part in (window[:line], window[-line:], window[:, :line], window[:, -line:]):
            part[:] = box.class_id
    return drawing
