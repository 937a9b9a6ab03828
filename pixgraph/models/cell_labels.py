"""How much of each cell of a picture the background and each class cover."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def label_areas(label: torch.Tensor, n_way: int, rows: int, columns: int) -> torch.Tensor:
    """Share of each cell's area that has each label; they sum to the share whose label is known.

    Args:
        label: (B, H, W) int64 in 0..n_way, or 254 or 255 where it is not known.
        n_way: Number of classes N.
        rows: Rows of cells.
        columns: Columns of cells.

    Returns:
        (B * rows * columns, N+1) float32 in 0..1, background first.
    """
    ways = torch.arange(n_way + 1, device=label.device)
    planes = (label.unsqueeze(1) == ways.view(1, -1, 1, 1)).float()  # (B, N+1, H, W)
    return F.adaptive_avg_pool2d(planes, (rows, columns)).permute(0, 2, 3, 1).flatten(0, 2)


def label_shares(label: torch.Tensor, n_way: int, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Among the pixels of a cell whose label is known, the share of each label.

    Args:
        label: As in `label_areas`.
        n_way: Number of classes N.
        rows: Rows of cells.
        columns: Columns of cells.

    Returns:
        Shares (B * rows * columns, N+1) that sum to one, all zero in a cell of unknown pixels, and the known share of
        each cell's area (B * rows * columns,) in 0..1.
    """
    areas = label_areas(label, n_way, rows, columns)
    known = areas.sum(1)
    return areas / known.clamp_min(1e-12)[:, None], known
