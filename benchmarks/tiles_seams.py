"""Whether the borders of tiles can be seen: how much an answer changes from one pixel to the next there and elsewhere.

At a border, where a tile begins or ends, nearly all weight is with the other tile. It is compared with lines of that
other tile where no tile but it counts, whole cells of the backbone's coarsest level away: answers are blocky, and only
lines at the same place of a cell have as much reason to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from recording import mean_and_deviation

from pixgraph.models.levels import DEEP
from pixgraph.tiling import Tiling

REACH = 24
MOST = 3


class Border(NamedTuple):
    """A line between two pixels.

    Attributes:
        line: The pixel behind it.
        others: The same for lines to compare with.
    """

    line: int
    others: list[int]


def seams(probabilities: np.ndarray, mask: np.ndarray, tiling: Tiling, size: int) -> dict[str, Any]:
    """Steps from pixel to pixel across the borders of tiles, over those elsewhere.

    The step of a line is the total variation distance of the class probabilities on its two sides, averaged over the
    line; its flips are the share of pixels whose class changes.

    Args:
        probabilities: (M, H, W), of any float type.
        mask: (H, W) class ids.
        tiling: Which tiles made them.
        size: Working size of a tile.

    Returns:
        ``borders``: how many; ``ratio`` and ``flip_ratio``: steps and flips at borders over those elsewhere, all
        borders together; ``ratio_mean`` and ``ratio_sd`` over the single borders; ``profile``: mean step at each
        distance from -REACH to REACH pixels from a border.
    """
    at, flips_at, elsewhere, flips_elsewhere, profile = [], [], [], [], []
    for axis in (0, 1):
        step, flip = steps(probabilities, axis + 1), changes(mask, axis)
        for line, others in borders(tiling, mask.shape[axis], size):
            at.append(step[line])
            flips_at.append(flip[line])
            elsewhere.append(step[others].mean())
            flips_elsewhere.append(flip[others].mean())
            profile.append(step[line - REACH : line + REACH + 1])
    if not at:
        return {"borders": 0}
    mean, deviation = mean_and_deviation([a / max(b, 1e-9) for a, b in zip(at, elsewhere, strict=True)])
    return {
        "borders": len(at),
        "ratio": round(float(np.sum(at) / max(np.sum(elsewhere), 1e-9)), 3),
        "ratio_mean": round(mean or 0.0, 3),
        "ratio_sd": round(deviation or 0.0, 3),
        "flip_ratio": round(float(np.sum(flips_at) / max(np.sum(flips_elsewhere), 1e-9)), 3),
        "profile": [round(float(v), 6) for v in np.mean(profile, 0)],
    }


def borders(tiling: Tiling, length: int, size: int) -> list[Border]:
    """The borders along a side, each with the nearest lines to compare with; those that have none are left out."""
    axis = tiling.axis(length)
    first, last = axis.starts, [start + axis.extent for start in axis.starts]
    cell = max(1, round(tiling.tile * DEEP / size))
    alone = list(zip([0, *last[:-1]], [*first[1:], length], strict=True))  # where no other tile counts
    found = []
    for i in range(len(first) - 1):
        before, behind = alone[i], alone[i + 1]
        lower = [n for n in range(first[i + 1] - cell, before[0], -cell) if n < before[1]]
        upper = [n for n in range(last[i] + cell, behind[1], cell) if n > behind[0]]
        found += [Border(first[i + 1], lower[:MOST]), Border(last[i], upper[:MOST])]
    return [b for b in found if b.others and REACH < b.line < length - REACH]


def steps(probabilities: np.ndarray, axis: int) -> np.ndarray:
    """Mean total variation distance across each line along `axis` of (M, H, W): (L,), by the pixel behind the line."""
    total = np.zeros(probabilities.shape[axis])
    for channel in probabilities:
        values = np.moveaxis(channel, axis - 1, 0)
        for at in range(1, len(values)):  # one line at a time: the picture is large
            total[at] += 0.5 * np.abs(values[at].astype(np.float32) - values[at - 1]).mean()
    return total


def changes(mask: np.ndarray, axis: int) -> np.ndarray:
    """Share of neighbours of different classes across each line along `axis` of (H, W): (L,)."""
    values = np.moveaxis(mask, axis, 0)
    return np.concatenate([[0.0], (values[1:] != values[:-1]).mean(1)])


def mean_iou(found: np.ndarray, truth: np.ndarray, classes: Sequence[int]) -> float:
    """Mean over `classes` of intersection over union; 255 of the truth counts nowhere."""
    known = truth != 255
    both = [((found == c) & (truth == c)).sum() for c in classes]
    either = [(((found == c) | (truth == c)) & known).sum() for c in classes]
    return float(np.mean([i / max(u, 1) for i, u in zip(both, either, strict=True)]))
