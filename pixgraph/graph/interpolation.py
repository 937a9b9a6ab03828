"""Bilinear interpolation of maps with many channels and few cells."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F

FEW = 32
"""Cells a side up to which products of matrices are faster on a CPU: three times, from 16 to 32 with 64 channels."""


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def weights(cells: int, wanted: int, dtype: torch.dtype) -> torch.Tensor:
    """What each of `wanted` cells takes of each of a line of `cells` cells: (wanted, cells), on the CPU."""
    line = torch.eye(cells, dtype=dtype)[:, None]
    return F.interpolate(line, wanted, mode="linear", align_corners=False)[:, 0].T.contiguous()


def bilinear(maps: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Maps at another grid of cells, as `torch.nn.functional.interpolate` makes them without aligned corners.

    Args:
        maps: (..., h, w).
        height: Rows wanted.
        width: Columns wanted.

    Returns:
        (..., height, width).
    """
    rows, columns = maps.shape[-2:]
    if maps.device.type != "cpu" or max(rows, columns) > FEW:
        batched = maps.reshape(1, -1, rows, columns)
        large = F.interpolate(batched, (height, width), mode="bilinear", align_corners=False)
        return large.reshape(*maps.shape[:-2], height, width)
    wide = maps.reshape(-1, columns) @ weights(columns, width, maps.dtype).T  # all rows of all maps at once
    return (weights(rows, height, maps.dtype) @ wide.view(-1, rows, width)).view(*maps.shape[:-2], height, width)


def bilinear_last(maps: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """`bilinear` of maps whose channels come last, also in memory: PyTorch's own is faster than products for these.

    Args:
        maps: (B, h, w, C).
        height: Rows wanted.
        width: Columns wanted.

    Returns:
        (B, height, width, C).
    """
    first = maps.permute(0, 3, 1, 2)
    return F.interpolate(first, (height, width), mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
