"""What retrieval finds: the pixels of a coarse grid, or segments of similar colour, each with a vector and a class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pixgraph.data.base import IGNORE
from pixgraph.data.images import resize_mask
from pixgraph.data.picture import Picture
from pixgraph.probe.embedding import Embedding

PURE = 0.9
"""Share of its known pixels that must be of one class for a unit to ask."""


@dataclass(frozen=True)
class Units:
    """The units of a picture.

    Attributes:
        vectors: (U, C) float32 of unit length (segments: means, scaled to it).
        where: (H, W) int64 at the working size: the unit of every pixel.
        centres: (U, 2) float64 row and column of each, in pixels of the working size.
        classes: (U,) int64: the commonest class of its known pixels, 255 where none is known; `None` without mask.
        pure: (U,) bool: that class has at least the share `PURE` of the known pixels, and half the pixels are known.
    """

    vectors: np.ndarray
    where: np.ndarray
    centres: np.ndarray
    classes: np.ndarray | None
    pure: np.ndarray | None


def pixel_units(picture: Picture, mask: np.ndarray | None, embedding: Embedding, stride: int) -> Units:
    """The cells of a grid.

    Args:
        picture: A picture with feature maps.
        mask: (h, w) class ids of any size.
        embedding: Gives the vectors.
        stride: Side of a cell in pixels of the working size.
    """
    vectors = embedding.cells(picture, stride)
    rows, columns = vectors.shape[:2]
    height, width = picture.rgb.shape[-2:]
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    where = row[:, None] * columns + column[None]
    return _units(vectors.flatten(0, 1), where, mask)


def segment_units(
    picture: Picture, mask: np.ndarray | None, embedding: Embedding, segments: int, stride: int = 8
) -> Units:
    """Superpixels (SLIC, Achanta et al. 2012); the vector is the mean over the segment.

    Args:
        picture: A picture with feature maps.
        mask: (h, w) class ids of any size.
        embedding: Gives the vectors.
        segments: How many, about.
        stride: Vectors are taken from a grid of such cells.
    """
    from skimage.segmentation import slic

    rgb = picture.rgb.permute(1, 2, 0).cpu().numpy()
    where = np.unique(slic(rgb, segments, start_label=0), return_inverse=True)[1].reshape(rgb.shape[:2])
    cells = embedding.cells(picture, stride)
    rows, columns = cells.shape[:2]
    height, width = rgb.shape[:2]
    # Share of each segment in each cell: (U, h * w), small because both are few.
    cell = (np.arange(height) * rows // height)[:, None] * columns + np.arange(width) * columns // width
    count = int(where.max()) + 1
    shared = np.bincount((where * (rows * columns) + cell).ravel(), minlength=count * rows * columns)
    weight = torch.tensor(shared.reshape(count, -1), dtype=torch.float32, device=cells.device)
    return _units(torch.nn.functional.normalize(weight @ cells.flatten(0, 1), dim=1), where, mask)


def _units(vectors: torch.Tensor, where: np.ndarray, mask: np.ndarray | None) -> Units:
    count = len(vectors)
    sizes = np.bincount(where.ravel(), minlength=count)
    sums = [np.bincount(where.ravel(), axis.ravel(), minlength=count) for axis in np.indices(where.shape)]
    centres = np.stack(sums, 1) / np.maximum(sizes, 1)[:, None]
    classes = pure = None
    if mask is not None:
        label = resize_mask(mask, (where.shape[0], where.shape[1]))
        votes = np.bincount(where.ravel() * 256 + label.ravel(), minlength=count * 256).reshape(count, 256)
        votes[:, IGNORE] = 0
        known = votes.sum(1)
        classes = np.where(known > 0, votes.argmax(1), IGNORE)
        pure = (votes.max(1) >= PURE * np.maximum(known, 1)) & (2 * known >= sizes)
    return Units(np.ascontiguousarray(vectors.cpu().numpy()), where, centres, classes, pure)
