"""Positive pairs of pixels drawn near the intersection of two views, for maps too large to compare all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from pixgraph.pretrain.pairs import bin_size, distance_unit


class SampledPairs(NamedTuple):
    """Pixels of two views that show the same place.

    Attributes:
        image: (P,) int64 position in the batch, ascending.
        first: (P,) int64 pixel of the first view, row by row.
        second: (P,) int64 pixel of the second view.
        counts: (B,) int64 pairs of each picture; 0: it was skipped.
    """

    image: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    counts: torch.Tensor


class _View(NamedTuple):
    x: np.ndarray  # (W,) centres of the columns
    y: np.ndarray  # (H,) centres of the rows
    bin: np.ndarray  # (2,) width and height of a pixel
    rect: np.ndarray  # (4,)


def sample_pairs(
    rect1: torch.Tensor,
    rect2: torch.Tensor,
    index: torch.Tensor,
    shape: Sequence[int],
    threshold: float,
    num_pairs: int,
    intersect_limit: int,
    seed: int,
    rule: str = "pixpro",
) -> SampledPairs:
    """Draw the same number of positive pairs for each picture, as the thesis that carried PixPro to UNets does.

    Of the pixels of the first view that lie in the second one or within the distance T of it, `intersect_limit` are
    drawn without replacement; of all pairs of these and pixels of the second view less than T apart, `num_pairs` are
    drawn without replacement. So pairs may share a pixel. A picture is skipped when either number cannot be had.
    Memory and time do not depend on the size of the map: partners are looked for where the grid has them.

    Args:
        rect1: (B, 4) rectangles of the first views; see `pixgraph.pretrain.pairs`.
        rect2: (B, 4) rectangles of the second views.
        index: (B,) int64 numbers of the pictures: each is drawn by `default_rng([seed, index])`.
        shape: Rows and columns of both maps, (H, W).
        threshold: T in units of `rule`, as in `pixgraph.pretrain.pairs.positive_pairs`.
        num_pairs: Pairs a picture.
        intersect_limit: Pixels of the first view that are compared.
        seed: At least 0.
        rule: "pixpro" or "pixelcl".

    Returns:
        The pairs, on the rectangles' device.
    """
    wide = [rect.detach().cpu().double() for rect in (rect1, rect2)]
    reach = threshold * distance_unit(wide[0], wide[1], shape, rule)
    views = [_views(rect, shape) for rect in wide]
    found, counts = [], []
    for b, (one, other, number) in enumerate(zip(*views, index.tolist(), strict=True)):
        rng = np.random.default_rng([seed, number])
        first, second = _draw(one, other, float(reach[b]), num_pairs, intersect_limit, rng)
        found.append(np.stack([np.full(len(first), b), first, second]))
        counts.append(len(first))
    pairs = np.concatenate(found, 1) if found else np.zeros((3, 0))
    image, first, second = torch.from_numpy(pairs.astype(np.int64)).to(rect1.device)
    return SampledPairs(image, first, second, torch.tensor(counts, dtype=torch.int64, device=rect1.device))


def _draw(
    one: _View, other: _View, reach: float, num_pairs: int, limit: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of one picture; none where there are too few."""
    none = np.zeros(0, np.int64), np.zeros(0, np.int64)
    columns = _near(one.x, other.rect[[0, 2]], reach)
    rows = _near(one.y, other.rect[[1, 3]], reach)
    if len(columns) * len(rows) < limit:
        return none
    drawn = rng.choice(len(columns) * len(rows), limit, replace=False)
    i, j = rows[drawn // len(columns)], columns[drawn % len(columns)]  # (n,)
    across = _candidates(one.x[j], other.x, other.bin[0], reach)  # (n, a)
    down = _candidates(one.y[i], other.y, other.bin[1], reach)  # (n, b)
    dx, dy = other.x[across] - one.x[j][:, None], other.y[down] - one.y[i][:, None]
    positive = np.square(dy)[:, :, None] + np.square(dx)[:, None, :] < reach**2  # (n, b, a)
    which, row, column = positive.nonzero()
    if len(which) < num_pairs:
        return none
    kept = np.sort(rng.choice(len(which), num_pairs, replace=False))
    which, row, column = which[kept], row[kept], column[kept]
    width = len(one.x)
    return i[which] * width + j[which], down[which, row] * width + across[which, column]


def _near(centres: np.ndarray, ends: np.ndarray, reach: float) -> np.ndarray:
    """Positions of the centres (n,) that lie between two ends or less than `reach` outside."""
    return np.flatnonzero((centres > ends.min() - reach) & (centres < ends.max() + reach))


def _candidates(centre: np.ndarray, grid: np.ndarray, step: float, reach: float) -> np.ndarray:
    """Runs of positions on an even grid (m,) that hold all within `reach` of each centre (n,); (n, run)."""
    span = reach / abs(step) if step else np.inf
    if 2 * span + 2 >= len(grid):
        return np.broadcast_to(np.arange(len(grid)), (len(centre), len(grid)))
    run = int(2 * span) + 2
    begin = np.floor((centre - grid[0]) / step - span).astype(np.int64).clip(0, len(grid) - run)
    return begin[:, None] + np.arange(run)


def _views(rect: torch.Tensor, shape: Sequence[int]) -> list[_View]:
    sizes, rects = bin_size(rect, shape).numpy(), rect.numpy()
    down, across = (np.arange(count) + 0.5 for count in shape)
    return [_View(r[0] + across * s[0], r[1] + down * s[1], s, r) for r, s in zip(rects, sizes, strict=True)]
