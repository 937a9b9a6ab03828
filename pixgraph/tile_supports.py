"""Labelled pictures at the scale of the tiles: windows as large as a tile, around what is marked.

A method compares a tile with supports, both squashed to the working size. So that an object has as many pixels in
both, a support larger than a tile is cut into windows of the tile's size, and a smaller one is mirrored up to it, mask
and all.
"""

from __future__ import annotations

import numpy as np

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.errors import ConfigError
from pixgraph.tiling import cut_tile

WINDOWS = 4
"""Most windows of one picture that are cut for one class."""

_STEPS = 4  # windows start at every quarter of a tile


def support_windows(rgb: np.ndarray, mask: np.ndarray, tile: int, *others: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """A labelled picture as labelled pictures of tile x tile pixels.

    For each class, the window that holds most of its marks not yet in a window, centred on them, until all are in one
    or there are `WINDOWS`; then one more for the background, where most of it was left out.

    Args:
        rgb: (H, W, 3) uint8.
        mask: (H, W) uint8: 0 background, class ids, 254 not marked, 255 unknown.
        tile: Side of a tile in pixels.
        others: Further arrays (H, W, ...) of the picture, to be cut alike.

    Returns:
        For each window picture (tile, tile, 3), mask (tile, tile) and the others; none where nothing is marked.
    """
    found: list[tuple[slice, slice]] = []
    for value in [v for v in np.unique(mask) if v not in (0, UNLABELLED, IGNORE)] + [0]:
        left = _Marks(mask == value, tile)
        for window in found:
            left.remove(window)
        for _ in range(WINDOWS if value else 1):
            if not left.any():
                break
            found.append(left.best())
            left.remove(found[-1])
    return [tuple(cut_tile(part, *window, tile) for part in (rgb, mask, *others)) for window in found]


def legal_tile_supports(name: str) -> str:
    """The name, when it is one of the two ways to show supports to tiles.

    Raises:
        ConfigError: It is another.
    """
    if name not in ("scaled", "whole"):
        raise ConfigError(
            f"tile_supports: got {name!r}, expected scaled or whole; scaled unless the labelled pictures show the "
            "objects at another scale than the large ones"
        )
    return name


def middle_window(rgb: np.ndarray, tile: int) -> np.ndarray:
    """The middle tile x tile pixels of a picture (H, W, 3), which is mirrored where it is smaller."""
    rows, columns = (slice(max(0, (n - tile) // 2), max(0, (n - tile) // 2) + min(n, tile)) for n in rgb.shape[:2])
    return cut_tile(rgb, rows, columns, tile)


class _Marks:
    """The marked pixels of one class that are in no window yet.

    Args:
        marked: (H, W) bool; kept and changed.
        tile: Side of a window.
    """

    def __init__(self, marked: np.ndarray, tile: int) -> None:
        self.marked, self.tile = marked, tile
        self.step = max(1, tile // _STEPS)

    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.marked.any())

    def remove(self, window: tuple[slice, slice]) -> None:
        """Those of the window are seen."""
        self.marked[window] = False

    def best(self) -> tuple[slice, slice]:
        """The window with most of them, the upper left one of several, moved so that they are in its middle."""
        counts = self.marked
        for axis in (0, 1):
            edges = np.arange(0, self.marked.shape[axis], self.step)
            counts = np.add.reduceat(counts, edges, axis=axis, dtype=np.int64)  # pixels in squares of `step`
        for axis in (0, 1):
            counts = _sums(counts, axis)
        row, column = np.unravel_index(counts.argmax(), counts.shape)
        rows, columns = self._span(int(row) * self.step, 0), self._span(int(column) * self.step, 1)
        inside = self.marked[rows, columns]
        middle = [(np.flatnonzero(inside.any(1 - axis))[[0, -1]].sum() + 1) // 2 for axis in (0, 1)]
        half = self.tile // 2
        return self._span(rows.start + int(middle[0]) - half, 0), self._span(columns.start + int(middle[1]) - half, 1)

    def _span(self, start: int, axis: int) -> slice:
        """A tile's pixels from about `start` on, within the picture."""
        length = self.marked.shape[axis]
        start = max(0, min(start, length - self.tile))
        return slice(start, min(start + self.tile, length))


def _sums(counts: np.ndarray, axis: int) -> np.ndarray:
    """Sums of `_STEPS` neighbours from each square on, fewer at the end."""
    padded = np.concatenate([np.zeros_like(counts.take([0], axis)), counts.cumsum(axis)], axis)
    last = np.minimum(np.arange(counts.shape[axis]) + _STEPS, counts.shape[axis])
    return padded.take(last, axis) - padded.take(np.arange(counts.shape[axis]), axis)
