"""Feature maps of the backbone's levels: standardised by the supports, sampled at nodes, compared cell by cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from pixgraph.data.picture import Picture
from pixgraph.graph.interpolation import bilinear

Statistics = list[tuple[torch.Tensor, torch.Tensor]]
"""Mean and standard deviation of each channel, (C_l, 1, 1) each, for every level."""


COARSE = 16
"""Levels of a deep CNN of at least this stride tell things apart: finer ones see edges and colours."""

DEEP = 32
"""A backbone whose coarsest level has at least this stride is deep."""


def coarse_levels(maps: Sequence[torch.Tensor], height: int) -> list[int]:
    """Indices of the levels that tell things apart.

    In a deep CNN, which goes down to 1/32, those of stride 16 and more. A shallower backbone, such as the filter bank
    or a transformer with one stride, has no levels to spare: all of them.

    Args:
        maps: (..., H_l, W_l), finest level first.
        height: Height of the picture in pixels.
    """
    # A size that is no multiple of the stride gives a part of a cell more: 400 pixels have 13 rows at stride 32.
    strides = [2 ** round(math.log2(height / m.shape[-2])) for m in maps]
    return _coarse(strides) or list(range(len(strides)))


def compared_levels(strides: Sequence[int]) -> list[int]:
    """Indices of the levels that a trained network compares with the supports.

    In a deep CNN those that `coarse_levels` chooses. Of a shallower backbone all but the finest, mere edges and
    colours, unless it is the only one.

    Args:
        strides: Of the levels, finest first.
    """
    return _coarse(strides) or list(range(min(1, len(strides) - 1), len(strides)))


def _coarse(strides: Sequence[int]) -> list[int]:
    """Levels of a deep CNN of a stride from `COARSE` on; none of a shallower backbone."""
    return [i for i, stride in enumerate(strides) if stride >= COARSE] if max(strides) >= DEEP else []


def level_statistics(pictures: Sequence[Picture]) -> Statistics:
    """Mean and standard deviation of every channel over the cells of all pictures, level by level.

    Taken over the supports, they centre cosine similarities where the task's own pictures lie, so that street scenes
    and cells under a microscope need no statistics of their own; queries have no influence on each other through them.
    """
    statistics = []
    for maps in zip(*(p.features for p in pictures), strict=True):
        count = sum(m[0].numel() for m in maps)
        mean = torch.stack([m.sum((1, 2)) for m in maps]).sum(0) / count  # (C,)
        square = torch.stack([torch.linalg.vector_norm(m, dim=(1, 2)).square() for m in maps]).sum(0) / count
        std = (square - mean.square()).clamp_min(0).sqrt()
        # A channel that hardly varies among the supports must not blow up in a query that differs.
        statistics.append((mean[:, None, None], (std + 0.1 * std.mean() + 1e-6)[:, None, None]))
    return statistics


def standardise(picture: Picture, statistics: Statistics) -> list[torch.Tensor]:
    """The picture's feature maps minus the mean, over the standard deviation: (C_l, H_l, W_l) each."""
    return [(f - mean) / std for f, (mean, std) in zip(picture.features, statistics, strict=True)]


def resample(maps: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Maps (..., H, W) at another grid of cells: averaged where it is coarser, bilinear where it is finer."""
    rows, columns = maps.shape[-2:]
    if (rows, columns) == (height, width):
        return maps
    if rows <= height and columns <= width:
        return bilinear(maps, height, width)
    batched = maps.reshape(1, -1, rows, columns)
    if rows % height == 0 and columns % width == 0:  # the same as the next line, in half the time
        out = F.avg_pool2d(batched, (rows // height, columns // width))
    else:
        out = F.adaptive_avg_pool2d(batched, (height, width))
    return out.reshape(*maps.shape[:-2], height, width)


def at_most(maps: torch.Tensor, cells: int) -> torch.Tensor:
    """Maps (..., H, W) averaged to at most `cells` cells a side."""
    height, width = maps.shape[-2:]
    return resample(maps, min(height, cells), min(width, cells))


class QueryCells(NamedTuple):
    """Cells of one level of a picture.

    Attributes:
        unit: (rows * columns, C) features of unit length.
        rows: Rows of cells.
        columns: Cells in a row.
    """

    unit: torch.Tensor
    rows: int
    columns: int


def unit_cells(maps: Sequence[torch.Tensor], side: int) -> list[QueryCells]:
    """Cells of maps (C_l, H_l, W_l), at most so many a side."""
    pooled = [at_most(m, side) for m in maps]
    return [QueryCells(unit_rows(m.flatten(1).T), *m.shape[-2:]) for m in pooled]


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Rows (P, C) scaled to unit length."""
    return F.normalize(x.contiguous(), dim=1)  # of channels that do not lie side by side, ten times as slow


def sample_at(maps: torch.Tensor, xy: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Bilinear values of a map (C, H, W) at points.

    Args:
        maps: (C, H, W), the cells of a picture of `size` pixels.
        xy: (n, 2) x and y pixel centres divided by (width - 1) and (height - 1).
        size: Height and width of the picture in pixels.

    Returns:
        (n, C).
    """
    extent = xy.new_tensor([size[1], size[0]])
    # From pixel centres over (size - 1) to the -1..1 of grid_sample, whose ends are the picture's outer edges.
    grid = (2 * xy * (extent - 1) + 1) / extent - 1
    out = F.grid_sample(maps[None], grid[None, None], mode="bilinear", padding_mode="border", align_corners=False)
    return out[0, :, 0].T
