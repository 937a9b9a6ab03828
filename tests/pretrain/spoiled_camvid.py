"""Ways to spoil a CamVid of small PNGs so that it can no longer serve a training, and what a user is told."""

import numpy as np
from PIL import Image


def emptied(root):
    """No validation picture has an annotated pixel."""
    for path in (root / "valannot").iterdir():
        _change(path, lambda mask: np.full_like(mask, 11))


def without_cars(root):
    """No training picture shows a car."""
    for path in (root / "trainannot").iterdir():
        _change(path, lambda mask: np.where(mask == 8, 3, mask))


def truncated(root):
    """The last validation picture breaks off."""
    path = sorted((root / "val").iterdir())[-1]
    path.write_bytes(path.read_bytes()[:-200])


def unknown_class(root):
    """The last validation mask has a number that CamVid does not have."""
    _change(sorted((root / "valannot").iterdir())[-1], lambda mask: np.full_like(mask, 77))


SPOILED = [
    (emptied, r"camvid \(val\): got 3 labels without a pixel of any class"),
    (without_cars, r"camvid \(train\): none of the \d labelled pictures shows car, expected every class"),
    (truncated, r"\.png: broken or truncated picture"),
    (unknown_class, r"valannot/.*\.png: .*77"),
]
"""What is done to the data, and what the error says."""


def _change(path, change):
    mask = change(np.asarray(Image.open(path)))
    Image.fromarray(mask.astype(np.uint8)).save(path)
