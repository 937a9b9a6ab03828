"""Which cells of two views show the same place of the picture: the geometry of PixPro (Xie et al., CVPR 2021).

A view's rectangle is ``[x1, y1, x2, y2]`` in units of the picture: x from 0 to 1 over its width, y over its height. In
a mirrored view x1 is the larger one, so that its cells run from right to left without further care.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pixgraph.errors import ConfigError

RULES = ("pixpro", "pixelcl")
"""What the distance of two cells is measured in: the larger bin diagonal of the views, or that of the whole picture."""

_MOST = 2**24  # distances held at a time; 64 MB


def bin_size(rect: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Width and height of a cell, negative where the view is mirrored.

    Args:
        rect: (B, 4) rectangles of the views.
        shape: Rows and columns of the feature map, (H, W).

    Returns:
        (B, 2): ``(x2 - x1) / W`` and ``(y2 - y1) / H``.
    """
    rows, columns = shape
    return torch.stack([(rect[:, 2] - rect[:, 0]) / columns, (rect[:, 3] - rect[:, 1]) / rows], dim=1)


def bin_diagonal(rect: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Diagonal of a cell in units of the picture, (B,).

    Args:
        rect: (B, 4) rectangles of the views.
        shape: Rows and columns of the feature map, (H, W).
    """
    return bin_size(rect, shape).norm(dim=1)


def cell_centres(rect: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Centres of the cells of a view in units of the picture.

    Args:
        rect: (B, 4) rectangles of the views.
        shape: Rows and columns of the feature map, (H, W).

    Returns:
        (B, HW, 2): x and y; cell (i, j) stands at i W + j.
    """
    rows, columns = shape
    x, y = _axes(rect, shape)
    grid = torch.stack([x[:, None, :].expand(-1, rows, -1), y[:, :, None].expand(-1, -1, columns)], dim=-1)
    return grid.flatten(1, 2)


def positive_pairs(
    rect1: torch.Tensor, rect2: torch.Tensor, shape: Sequence[int], threshold: float, rule: str = "pixpro"
) -> torch.Tensor:
    """Pairs of cells whose centres are less than `threshold` units apart.

    The unit of "pixpro" is the larger of the two views' bin diagonals, that of "pixelcl" the bin diagonal of the whole
    picture. As x and y are measured separately, the distance stretches with the picture's shape, as in PixPro's own
    code.

    Args:
        rect1: (B, 4) rectangles of the first views.
        rect2: (B, 4) rectangles of the second views.
        shape: Rows and columns of both feature maps, (H, W).
        threshold: T > 0; a pair at exactly T units is none.
        rule: One of `RULES`.

    Returns:
        bool (B, HW, HW): cell of the first view, cell of the second.

    Raises:
        ConfigError: The rule is unknown.
    """
    if rule not in RULES:
        raise ConfigError(f"pixel.pairs: got {rule!r}, expected one of {', '.join(RULES)}; correct it")
    reach = threshold * distance_unit(rect1, rect2, shape, rule)  # (B,)
    return near_cells(_axes(rect1, shape), _axes(rect2, shape), reach)


def near_cells(
    first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor], reach: torch.Tensor
) -> torch.Tensor:
    """Pairs of cells less than `reach` apart, from the coordinates of columns and rows: the grids are separable.

    Args:
        first: x of the first map's columns (B, W), y of its rows (B, H).
        second: The same of the second map.
        reach: (B,) distances.

    Returns:
        bool (B, HW, HW): cell of the first map, cell of the second.
    """
    dx = (first[0][:, :, None] - second[0][:, None, :]).square()  # (B, W, W)
    dy = (first[1][:, :, None] - second[1][:, None, :]).square()  # (B, H, H)
    cells = dx.shape[1] * dy.shape[1]
    near = torch.empty(len(dx), cells, cells, dtype=torch.bool, device=dx.device)
    group = max(1, _MOST // cells**2)
    for start in range(0, len(dx), group):
        part = slice(start, start + group)
        squared = dy[part, :, None, :, None] + dx[part, None, :, None, :]  # (b, H, W, H, W)
        near[part] = (squared < reach[part, None, None, None, None].square()).view(-1, cells, cells)
    return near


def _axes(rect: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """X of the columns (B, W) and y of the rows (B, H)."""
    rows, columns = shape
    size = bin_size(rect, shape)
    steps = [torch.arange(count, dtype=rect.dtype, device=rect.device) + 0.5 for count in (columns, rows)]
    return rect[:, :1] + steps[0] * size[:, :1], rect[:, 1:2] + steps[1] * size[:, 1:]


def distance_unit(rect1: torch.Tensor, rect2: torch.Tensor, shape: Sequence[int], rule: str) -> torch.Tensor:
    """What distances between bins are divided by.

    Args:
        rect1: (B, 4) views, see `positive_pairs`.
        rect2: (B, 4) views.
        shape: Rows and columns of bins.
        rule: See `positive_pairs`.

    Returns:
        (B,).
    """
    if rule == "pixpro":
        return torch.maximum(bin_diagonal(rect1, shape), bin_diagonal(rect2, shape))
    rows, columns = shape
    return rect1.new_full((len(rect1),), (columns**-2 + rows**-2) ** 0.5)
