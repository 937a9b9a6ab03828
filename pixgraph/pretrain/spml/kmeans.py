"""Spherical k-means inside each picture, on embedding and location: the segments that pixels are compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F

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
    y = y.view(1, 1, height, 1).expand(batch, 1, height, width)
    x = x.view(1, 1, 1, width).expand(batch, 1, height, width)
    return F.normalize(torch.cat([F.normalize(embedding, dim=1), y, x], 1), dim=1)


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
    x = located(exact).flatten(2)  # (B, D + 2, n)
    outside = None if valid is None else ~valid.flatten(1)
    clusters = grid_clusters(height, width, grid, x.device).flatten().expand(batch, -1)
    for _ in range(iterations):
        clusters = _assign(x, _memberships(clusters, outside, count, x.dtype))
    if outside is not None:
        clusters = clusters.masked_fill(outside, OUTSIDE)
    return clusters.reshape(batch, height, width)


def _memberships(clusters: torch.Tensor, outside: torch.Tensor | None, count: int, dtype: torch.dtype) -> torch.Tensor:
    """(B, n, K) ones where a pixel belongs to a cluster."""
    if outside is not None:
        clusters = clusters.masked_fill(outside, OUTSIDE)  # equal to no cluster
    return (clusters[:, :, None] == torch.arange(count, device=clusters.device)).to(dtype)


def _assign(x: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
    """The cluster of the largest inner product for each pixel, (B, n), of vectors x (B, D, n)."""
    sums = x @ members  # (B, D, K)
    empty = ~members.any(1)  # (B, K)
    products = F.normalize(sums, dim=1).transpose(1, 2) @ x  # (B, K, n)
    return products.masked_fill_(empty[:, :, None], -torch.inf).argmax(1)
