"""Where a view lies in a picture: one rule of scaling, cropping, padding and mirroring for all maps of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchvision.transforms.v2 import functional

from pixgraph.data.base import IGNORE, UNLABELLED


@dataclass(frozen=True)
class Placement:
    """A square view of a scaled picture.

    Attributes:
        height: Rows of the scaled picture.
        width: Its columns.
        rows: (S,) int64, row of the scaled picture at each row of the view; beyond the picture its reflection.
        columns: (S,) int64, likewise.
        inside: (S, S) bool; no reflection.
    """

    height: int
    width: int
    rows: torch.Tensor
    columns: torch.Tensor
    inside: torch.Tensor


def draw_placement(
    shape: Sequence[int], size: int, scale: Sequence[float], flip: float, rng: np.random.Generator
) -> Placement:
    """A random scale, and a random crop; a scaled picture that is too small lies at the top left.

    The same number of draws is made whatever the settings are.

    Args:
        shape: (H, W) of the picture.
        size: S, side of the view in pixels.
        scale: Smallest and largest scale; uniform between them.
        flip: Probability of mirroring.
        rng: Where the choices come from.
    """
    factor, down, right, chance = rng.uniform(scale[0], scale[1]), *rng.random(3)
    height, width = (max(1, round(factor * side)) for side in shape)
    rows, rows_inside = _window(height, size, down)
    columns, columns_inside = _window(width, size, right)
    inside = rows_inside[:, None] & columns_inside
    if chance < flip:
        columns, inside = columns.flip(0), inside.flip(1)
    return Placement(height, width, rows, columns, inside)


def place_picture(picture: torch.Tensor, placement: Placement) -> torch.Tensor:
    """The view of a picture (3, H, W), bilinear; beyond its border by reflection: (3, S, S) of the same type."""
    size = [placement.height, placement.width]
    if picture.shape[-2:] != torch.Size(size):
        picture = functional.resize(picture, size, antialias=True)
    rows, columns = placement.rows.to(picture.device), placement.columns.to(picture.device)
    return picture.index_select(1, rows).index_select(2, columns)


def place_values(values: torch.Tensor, placement: Placement, outside: float) -> torch.Tensor:
    """The view of a map (H, W), nearest pixel; `outside` beyond its border: (S, S) of the same type."""
    rows = nearest(values.shape[0], placement.height)[placement.rows].to(values.device)
    columns = nearest(values.shape[1], placement.width)[placement.columns].to(values.device)
    return values[rows[:, None], columns].masked_fill(~placement.inside.to(values.device), outside)


def place_label(label: torch.Tensor, placement: Placement) -> torch.Tensor:
    """The view of a label (H, W), nearest pixel; 255 beyond its border: (S, S) of the same type.

    Where the picture shrinks, annotated pixels win over unlabelled ones: a mark of one pixel does not get lost.
    """
    shrinks = placement.height < label.shape[0] or placement.width < label.shape[1]
    if not shrinks or not (label == UNLABELLED).any():
        return place_values(label, placement, IGNORE)
    small = shrink_label(label, placement.height, placement.width)
    rows, columns = placement.rows.to(label.device), placement.columns.to(label.device)
    return small[rows[:, None], columns].masked_fill(~placement.inside.to(label.device), IGNORE)


def shrink_label(label: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A label (H, W) at another size, nearest pixel.

    A cell that would be unlabelled although annotated pixels lie in it has their class, the smallest of several.

    Args:
        label: (H, W), class, 254 unlabelled or 255 ignored.
        height: Rows wanted.
        width: Columns wanted.

    Returns:
        (height, width) of the same type.
    """
    rows, columns = (nearest(a, b).to(label.device) for a, b in zip(label.shape, (height, width), strict=True))
    scaled = label[rows[:, None], columns]
    down, right = (label < UNLABELLED).nonzero(as_tuple=True)
    cells = down * height // label.shape[0] * width + right * width // label.shape[1]
    marks = torch.full((height * width,), UNLABELLED, dtype=torch.int64, device=label.device)
    marks.scatter_reduce_(0, cells, label[down, right].long(), "amin")
    return torch.where(scaled == UNLABELLED, marks.view(height, width).to(label.dtype), scaled)


def nearest(length: int, wanted: int) -> torch.Tensor:
    """For each of `wanted` pixels that cover a line of `length` pixels: the pixel that lies under its centre, int64.

    Example:
        >>> nearest(6, 2).tolist(), nearest(2, 4).tolist()
        ([1, 4], [0, 0, 1, 1])
    """
    return (torch.arange(wanted) * 2 + 1) * length // (2 * wanted)


def _window(length: int, size: int, chance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of `length` pixels a line of `size` pixels shows, with reflections, and where there are none."""
    place = torch.arange(size) + int(chance * (max(0, length - size) + 1))
    period = max(1, 2 * (length - 1))
    folded = place % period
    return torch.minimum(folded, period - folded) if length > 1 else torch.zeros_like(place), place < length
