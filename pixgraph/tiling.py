"""Large pictures in overlapping tiles: where the tiles lie, how their answers blend, in memory of one row of tiles.

Along an axis of length L, tiles of side t overlap by o or more:

    n = ceil((L - o) / (t - o)) tiles, the i-th from floor(i (L - t) / (n - 1)) on.

Tile i counts at pixel x with r_i(x) / sum_j r_j(x), where r_i rises by sin^2 over the pixels shared with the tile
before and falls by cos^2 over those shared with the tile after. So the weights of all tiles sum to one at every pixel,
and are next to nothing at a tile's own border, where a network sees least around it. In the plane the weights of
rows and columns are multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pixgraph.arguments import whole_number
from pixgraph.errors import ConfigError

SMALLEST = 32

Score = Callable[[slice, slice], np.ndarray]
"""From the rows and columns of a tile to its class probabilities, (M, rows, columns) float32."""


@dataclass(frozen=True)
class Axis:
    """The tiles along one side of a picture.

    Attributes:
        length: Pixels of that side.
        extent: Pixels of a tile, at most `length`.
        starts: First pixel of each tile, ascending.
        weights: Of each tile, (extent,) float32 in (0, 1]; at every pixel they sum to one over the tiles.
    """

    length: int
    extent: int
    starts: list[int]
    weights: list[np.ndarray]

    def slices(self) -> list[slice]:
        """The pixels of each tile."""
        return [slice(start, start + self.extent) for start in self.starts]


@dataclass(frozen=True)
class Tiling:
    """How pictures larger than a tile are cut.

    Attributes:
        tile: Side of a tile in pixels of the picture.
        overlap: Pixels that neighbouring tiles share, at least.

    Raises:
        ConfigError: The tile is below 32 pixels, or the overlap is not in 0..tile - 1.

    Example:
        >>> Tiling(64, 16).axis(150).starts
        [0, 43, 86]
    """

    tile: int
    overlap: int

    def __post_init__(self) -> None:
        if self.tile < SMALLEST:
            raise ConfigError(f"tile: got {self.tile}, expected {SMALLEST} pixels or more; leave it out for no tiles")
        if not 0 <= self.overlap < self.tile:
            raise ConfigError(
                f"overlap: got {self.overlap} with tile {self.tile}, expected 0 to {self.tile - 1}; an eighth of the "
                "tile is usual"
            )

    def covers(self, size: tuple[int, ...]) -> bool:
        """Whether one tile holds a picture of this height and width, which is then predicted whole."""
        return max(size) <= self.tile

    def axis(self, length: int) -> Axis:
        """The tiles along a side of `length` pixels; one where a tile covers it."""
        if length <= self.tile:
            return Axis(length, length, [0], [np.ones(length, np.float32)])
        count = -(-(length - self.overlap) // (self.tile - self.overlap))
        starts = [i * (length - self.tile) // (count - 1) for i in range(count)]
        return Axis(length, self.tile, starts, _weights(starts, self.tile, length))


def tiling_of(tile: int | None, overlap: int | None) -> Tiling | None:
    """The tiling that a user's two settings mean: `None` without a tile, an overlap of an eighth where none is given.

    Raises:
        ConfigError: A number is out of range, or there is an overlap without a tile.
    """
    if tile is not None:
        tile = whole_number("tile", tile)
        return Tiling(tile, tile // 8 if overlap is None else whole_number("overlap", overlap))
    if overlap is not None:
        usual = 8 * whole_number("overlap", overlap)
        raise ConfigError(f"overlap: got {overlap} without a tile, expected both; set tile, to {usual} for example")
    return None


def blended_strips(
    rows: Axis, columns: Axis, channels: int, score: Score, done: Callable[[], object] = lambda: None
) -> Iterator[tuple[int, np.ndarray]]:
    """Blend the answers of all tiles, from the top down, holding one row of tiles.

    Args:
        rows: Tiles along the height.
        columns: Tiles along the width.
        channels: M, of each answer.
        score: Gives the answer of a tile.
        done: Called after each tile.

    Yields:
        First row and blended answer (M, h, W) float32 of the next strip of finished rows; together the strips are the
        picture. The array is written to again for the next strip: copy what you keep.
    """
    buffer = np.zeros((channels, rows.extent, columns.length), np.float32)
    following = [*rows.starts[1:], rows.length]
    for top, weight, stop in zip(rows.starts, rows.weights, following, strict=True):
        for across, columns_weight in zip(columns.slices(), columns.weights, strict=True):
            answer = score(slice(top, top + rows.extent), across)
            buffer[:, :, across] += answer * (weight[:, None] * columns_weight)
            done()
        finished = stop - top  # no later tile reaches these rows
        yield top, buffer[:, :finished]
        kept = rows.extent - finished
        buffer[:, :kept] = buffer[:, finished:]
        buffer[:, kept:] = 0


def cut_tile(rgb: np.ndarray, rows: slice, columns: slice, tile: int) -> np.ndarray:
    """A tile of a picture; where the picture is smaller than a tile, mirrored down or to the right.

    Args:
        rgb: (H, W, 3) or a mask (H, W).
        rows: Rows of the tile, at most `tile`.
        columns: Columns of the tile, at most `tile`.
        tile: Side of the result.

    Returns:
        (tile, tile, 3) or (tile, tile), of the same type.
    """
    part = rgb[rows, columns]
    missing = [(0, tile - side) for side in part.shape[:2]] + [(0, 0)] * (rgb.ndim - 2)
    return np.pad(part, missing, mode="symmetric") if any(after for _, after in missing) else part


def _weights(starts: list[int], tile: int, length: int) -> list[np.ndarray]:
    """The normalised windows of the tiles along an axis."""
    raw = []
    for i, start in enumerate(starts):
        window = np.ones(tile)
        if i:
            shared = starts[i - 1] + tile - start
            window[:shared] *= _rise(shared)
        if i + 1 < len(starts):
            shared = start + tile - starts[i + 1]
            window[tile - shared :] *= _rise(shared)[::-1]
        raw.append(window)
    total = np.zeros(length)
    for start, window in zip(starts, raw, strict=True):
        total[start : start + tile] += window
    return [
        (window / total[start : start + tile]).astype(np.float32) for start, window in zip(starts, raw, strict=True)
    ]


def _rise(pixels: int) -> np.ndarray:
    """sin^2 from 0 to 1 at the centres of so many pixels."""
    return np.sin(0.5 * np.pi * (np.arange(pixels) + 0.5) / max(pixels, 1)) ** 2
