"""Spherical k-means inside each picture, on embedding and location: the segments that pixels are compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pixgraph.pretrain.spml.sums import group_sums

OUTSIDE = -1
"""Cluster of a pixel that takes no part."""


def located(embedding: torch.Tensor) -> torch.Tensor:
    """Unit embedding and location of each pixel, concatenated and normalised once more.

    The location runs from -.5 to .5 over the first to the last row and column: it has no weight in the middle of the
    picture and a third of the squared length in a corner.

    Args:
        embedding: (B, D, h, w) of any length.

    Returns:
        (B, D + 2, h, w) of unit length; the last two are y and x.
    """
    batch, _, height, width = embedding.shape
    y, x = (torch.linspace(-0.5, 0.5, n, dtype=embedding.dtype, device=embedding.device) for n in (height, width))
    place = torch.stack([y[:, None].expand(height, width), x.expand(height, width)])
    joined = torch.cat([F.normalize(embedding, dim=1), place.expand(batch, -1, -1, -1)], 1)
    return joined / (1 + place.square().sum(0)).sqrt()


def grid_clusters(
    height: int, width: int, grid: tuple[int, int], device: torch.device | str | None = None
) -> torch.Tensor:
    """The first clusters: a grid of `grid` cells, those at the border half as large.

    Args:
        height: Rows of pixels.
        width: Columns of pixels.
        grid: Rows and columns of cells.
        device: Where to make them.

    Returns:
        (height, width) int64 in 0 .. rows x columns - 1: round(linspace(0, rows - 1, height)) x columns + ...

    Example:
        >>> grid_clusters(2, 4, (2, 2)).tolist()
        [[0, 0, 1, 1], [2, 2, 3, 3]]
    """
    rows = torch.linspace(0, grid[0] - 1, height, dtype=torch.float64, device=device).round().long()
    columns = torch.linspace(0, grid[1] - 1, width, dtype=torch.float64, device=device).round().long()
    return rows[:, None] * grid[1] + columns


@torch.no_grad()
def spherical_kmeans(
    embedding: torch.Tensor,
    valid: torch.Tensor | None = None,
    grid: tuple[int, int] = (6, 6),
    iterations: int = 10,
) -> torch.Tensor:
    """Von Mises-Fisher k-means of each picture of a batch (Hwang et al. 2019), on `located` vectors.

    From a grid, `iterations` times: a cluster's direction is the normalised sum of its pixels; each pixel goes to the
    cluster of the largest inner product, the first of several. A cluster that lost its last pixel stays empty: its
    direction would be zero, whose product with a pixel beats every negative one.

    Args:
        embedding: (B, D, h, w) float of any length, on any device; half precision is computed in float32.
        valid: (B, h, w) bool, the pixels that take part; none: all. The others have no influence.
        grid: Rows and columns of the first clusters; their product is the number of clusters K.
        iterations: At least 0; 0 gives the grid itself.

    Returns:
        (B, h, w) int64 in 0 .. K - 1, -1 where not valid.

    Raises:
        ValueError: The grid has a side below 1, or `valid` another shape than the maps.
    """
    batch, _, height, width = embedding.shape
    count = grid[0] * grid[1]
    if min(grid) < 1:
        raise ValueError(f"spherical_kmeans: got a grid of {grid[0]} x {grid[1]}, expected sides of at least 1")
    if valid is not None and valid.shape != (batch, height, width):
        raise ValueError(
            f"spherical_kmeans: got valid pixels {tuple(valid.shape)}, expected {(batch, height, width)} like the maps"
        )
    exact = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
    x = located(exact).flatten(2).transpose(1, 2).contiguous()  # (B, n, D + 2)
    inside = slice(None) if valid is None else valid.flatten().nonzero()[:, 0]
    members = x.flatten(0, 1)[inside]
    clusters = grid_clusters(height, width, grid, x.device).flatten().expand(batch, -1)
    first = torch.arange(batch, device=x.device)[:, None] * count
    for _ in range(iterations):
        own = (clusters + first).flatten()[inside]
        direction = F.normalize(group_sums(members, own, batch * count), dim=1).view(batch, count, -1)
        empty = torch.bincount(own, minlength=batch * count).view(batch, 1, count) == 0
        bias = torch.zeros_like(empty, dtype=x.dtype).masked_fill_(empty, -torch.inf)
        clusters = torch.baddbmm(bias, x, direction.transpose(1, 2)).max(2).indices
    clusters = clusters.reshape(batch, height, width)
    return clusters if valid is None else clusters.masked_fill(~valid, OUTSIDE)
