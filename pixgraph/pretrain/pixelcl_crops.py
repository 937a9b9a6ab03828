"""Crops and positive pairs as in the package pixel-level-contrastive-learning.

A crop takes the same share of both sides; distances are measured in bins of the whole picture. The package draws one
crop for a whole batch; here every picture may also have its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.pretrain.pairs import near_cells


class Crops(NamedTuple):
    """One crop for all pictures of a batch, or one for each.

    Attributes:
        boxes: Top, left, height and width in pixels; 1 or B of them.
        mirrored: Whether the crop is flipped from left to right; as many.
    """

    boxes: Sequence[tuple[int, int, int, int]]
    mirrored: Sequence[bool]


def draw_crops(
    count: int, shape: Sequence[int], ratio: Sequence[float], flip: float, rng: np.random.Generator
) -> Crops:
    """Random crops whose sides are a uniform share of the pictures'.

    Args:
        count: How many.
        shape: Height and width of the pictures.
        ratio: Smallest and largest share of a side, the same for both sides.
        flip: Probability of a flip.
        rng: Where all choices come from.
    """
    rows, columns = shape
    boxes = []
    for _ in range(count):
        share = rng.uniform(ratio[0], ratio[1])
        height, width = max(1, math.floor(share * rows)), max(1, math.floor(share * columns))
        left, top = math.floor((columns - width) * rng.random()), math.floor((rows - height) * rng.random())
        boxes.append((top, left, height, width))
    return Crops(boxes, [bool(draw < flip) for draw in rng.random(count)])


def cut(images: torch.Tensor, crops: Crops, mode: str) -> torch.Tensor:
    """The crops, resized to the pictures' own size and mirrored.

    Args:
        images: (B, C, H, W).
        crops: One, or one a picture.
        mode: As `torch.nn.functional.interpolate` has it.

    Returns:
        (B, C, H, W).
    """
    groups = [images] if len(crops.boxes) == 1 else images.split(1)
    parts = []
    for group, (top, left, height, width), mirrored in zip(groups, crops.boxes, crops.mirrored, strict=True):
        part = F.interpolate(group[:, :, top : top + height, left : left + width], images.shape[2:], mode=mode)
        parts.append(part.flip(-1) if mirrored else part)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def crop_pairs(
    first: Crops,
    second: Crops,
    image: Sequence[int],
    cells: Sequence[int],
    threshold: float,
    mode: str,
    device: torch.device,
) -> torch.Tensor:
    """Pairs of cells whose places in the picture are less than `threshold` bin diagonals of the picture apart.

    A pixel at row r of an H x W picture has the coordinate r h / sqrt(H^2 + W^2) on a map of h rows; the coordinates
    are cropped, resized and mirrored as the picture was.

    Args:
        first: Crops of the first views.
        second: Crops of the second views, as many.
        image: Height and width of the pictures.
        cells: Rows and columns of the feature maps, (h, w).
        threshold: In diagonals.
        mode: Resizing of the coordinates, as `torch.nn.functional.interpolate` has it.
        device: Where the pairs are needed.

    Returns:
        bool (1 or B, hw, hw): cell of the first view, cell of the second.
    """
    reach = torch.full((len(first.boxes),), threshold, dtype=torch.float32, device=device)
    axes = [_axes(crops, image, cells, mode, device) for crops in (first, second)]
    return near_cells(axes[0], axes[1], reach)


def _axes(
    crops: Crops, image: Sequence[int], cells: Sequence[int], mode: str, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """X of the columns (n, w) and y of the rows (n, h) of every crop: resizing treats the two apart."""
    diagonal = math.hypot(*image)
    y, x = (torch.arange(side, device=device).float() / diagonal * n for side, n in zip(image, cells, strict=True))
    columns, rows = [], []
    for (top, left, height, width), mirrored in zip(crops.boxes, crops.mirrored, strict=True):
        column = F.interpolate(x[None, None, None, left : left + width], (1, cells[1]), mode=mode).flatten()
        columns.append(column.flip(0) if mirrored else column)
        rows.append(F.interpolate(y[None, None, top : top + height, None], (cells[0], 1), mode=mode).flatten())
    return torch.stack(columns), torch.stack(rows)
