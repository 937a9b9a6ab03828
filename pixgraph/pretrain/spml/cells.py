"""Labels and regions of pixels on the coarser cells of an embedding."""

from __future__ import annotations

import torch

from pixgraph.data.base import IGNORE, UNLABELLED


def labels_on_cells(label: torch.Tensor, size: tuple[int, int], classes: int) -> torch.Tensor:
    """The most frequent class of each cell, the first of several; so a mark of a single pixel is not lost.

    A cell without an annotated pixel is 254, unless all its pixels are 255. Nearest neighbour would keep one mark of
    sixteen at a stride of 4.

    Args:
        label: (B, H, W) int64: 0 .. C - 1, 254, 255.
        size: Rows h <= H and columns w <= W of cells.
        classes: Number of classes C.

    Returns:
        (B, h, w) int64.
    """
    batch, height, width = label.shape
    rows = torch.arange(height, device=label.device) * size[0] // height
    columns = torch.arange(width, device=label.device) * size[1] // width
    cells = batch * size[0] * size[1]
    first = torch.arange(batch, device=label.device)[:, None, None] * size[0]
    cell = ((first + rows[:, None]) * size[1] + columns).flatten()  # (B * H * W,)
    flat = label.flatten()
    marked, counted = flat < classes, flat != IGNORE
    votes = torch.bincount(cell[marked] * classes + flat[marked], minlength=cells * classes).view(cells, classes)
    seen = torch.bincount(cell[counted], minlength=cells) > 0
    most, best = votes.max(1)
    found = torch.where(most > 0, best, torch.where(seen, UNLABELLED, IGNORE))
    return found.view(batch, *size)


def regions_on_cells(region: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The region of the pixel in the middle of each cell.

    Args:
        region: (B, H, W) int64.
        size: Rows and columns of cells.

    Returns:
        (B, h, w) int64.
    """
    height, width = region.shape[1:]
    rows = (2 * torch.arange(size[0], device=region.device) + 1) * height // (2 * size[0])
    columns = (2 * torch.arange(size[1], device=region.device) + 1) * width // (2 * size[1])
    return region[:, rows[:, None], columns]
