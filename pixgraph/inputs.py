"""What a person hands over, as what the methods take: lists of decoded pictures and masks, at the working size."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixgraph.data.base import UNLABELLED
from pixgraph.data.images import load_image, load_mask, resize_mask
from pixgraph.errors import DataError

if TYPE_CHECKING:
    import torch


def at_size(probabilities: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Class probabilities (M, h, w) resized bilinearly to (M, H, W)."""
    import torch.nn.functional as F

    if tuple(probabilities.shape[-2:]) == tuple(size):
        return probabilities
    return F.interpolate(probabilities[None], tuple(size), mode="bilinear", align_corners=False)[0]


def shrink_mask(ways: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A label resized by nearest neighbour, without losing a class that is marked.

    Where some of the picture is not marked (254), every mark keeps a pixel: a class before the background, and of two
    classes the one whose first mark is higher or further left, so that ids have no influence. Elsewhere a class that
    would vanish keeps the one pixel where its centre lies. A class that is still on no pixel, since others have those
    of its marks, takes the nearest one that is not the last of another.

    Args:
        ways: (H, W) uint8: 0 background, 1..253, 254 not marked, 255 unknown.
        size: Height and width.
    """
    small = resize_mask(ways, (size[0], size[1])).copy()
    sparse = bool((ways == UNLABELLED).any())
    present = np.flatnonzero(np.bincount(ways.ravel(), minlength=256)[:UNLABELLED])
    lost = [int(way) for way in present if sparse or (way and not (small == way).any())]
    marks = {way: np.flatnonzero(ways == way) for way in lost}
    order = sorted(lost, key=lambda way: (way == 0, marks[way][0]))
    cells = {}
    for way in order:
        rows, columns = np.divmod(marks[way], ways.shape[1])
        rows, columns = cells[way] = rows * size[0] // ways.shape[0], columns * size[1] // ways.shape[1]
        if sparse:
            free = (small[rows, columns] >= UNLABELLED) | (small[rows, columns] == 0)
            small[rows[free], columns[free]] = way
    for way in order:
        if not (small == way).any():
            rows, columns = cells[way]
            small[_nearest_free(small, rows[len(rows) // 2], columns[len(rows) // 2])] = way
    return small


def _nearest_free(label: np.ndarray, row: int, column: int) -> tuple[int, int]:
    """The pixel nearest to a place that is not the last one of its class; of several, one that is not marked."""
    counts = np.bincount(label.ravel(), minlength=256)
    counts[UNLABELLED:] = label.size
    rows, columns = np.ogrid[: label.shape[0], : label.shape[1]]
    away = (rows - row) ** 2 + (columns - column) ** 2 + 0.5 * (label != UNLABELLED)
    at = np.where(counts[label] > 1, away, np.inf).argmin()
    return int(at // label.shape[1]), int(at % label.shape[1])


def as_list(source: Any, mask: bool = False) -> list[Any]:
    """One picture or mask, or several, as a list of them.

    Args:
        source: A path, PIL image, array or tensor, a batch (one dimension more), or an iterable of those.
        mask: Whether masks are meant, for which (B, H, W) is a batch.
    """
    from PIL import Image

    if isinstance(source, (str, Path, Image.Image)):
        return [source]
    ndim = getattr(source, "ndim", None)
    if ndim is not None:
        one = 2 if mask and 1 not in (source.shape[0], source.shape[-1]) else 3
        return list(source) if ndim > one else [source]
    if not isinstance(source, Iterable):
        raise DataError(
            f"got {type(source).__name__}, expected a path, a PIL image, an array, a tensor, or a list of them"
        )
    return list(source)


def labelled_pair(position: int, image: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """A decoded picture and its decoded mask.

    Args:
        position: Number of the pair, for messages.
        image: As `pixgraph.data.images.load_image` takes it.
        mask: As `pixgraph.data.images.load_mask` takes it.

    Returns:
        (H, W, 3) uint8 and (H, W) uint8.

    Raises:
        DataError: One of them is broken, or their sizes differ.
    """
    rgb, numbers = load_image(image), load_mask(mask)
    if rgb.shape[:2] != numbers.shape:
        name = mask if isinstance(mask, (str, Path)) else f"mask {position}"
        raise DataError(
            f"{name}: got {numbers.shape[0]} x {numbers.shape[1]} pixels, expected its picture's "
            f"{rgb.shape[0]} x {rgb.shape[1]}; save the mask at the size of the upright picture"
        )
    return rgb, numbers
