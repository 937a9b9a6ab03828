"""The last part of the demo: a real photograph, three coins marked by hand, all coins to be found."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixgraph.data.base import IGNORE
from pixgraph.overlay import overlay
from pixgraph.report.tiles import Tile
from pixgraph.segmenter import FewShotSegmenter
from pixgraph.training.atomic import write_atomic

# Row, column and radius in pixels of the coins in scikit-image's photograph `coins`, measured once.
COINS = (
    (44, 335, 29), (51, 155, 23), (51, 215, 23), (52, 276, 20), (54, 44, 21), (56, 100, 19),
    (119, 271, 25), (124, 45, 20), (124, 205, 20), (125, 336, 19), (126, 102, 19), (127, 154, 19),
    (187, 347, 32), (193, 212, 24), (194, 274, 22), (196, 102, 22), (197, 44, 19), (198, 154, 19),
    (260, 46, 28), (261, 172, 27), (263, 301, 25), (263, 244, 24), (266, 114, 21), (268, 358, 22),
)  # fmt: skip
MARKED = (0, 8, 18)
"""Positions in `COINS` of the three that are marked."""

GAPS = (
    (22, 188), (88, 72), (88, 305), (88, 235), (160, 128), (160, 305), (228, 140), (228, 330), (292, 210), (160, 20),
    (124, 179), (196, 129), (52, 247), (263, 140),
)  # fmt: skip
"""Row and column of the marks between the coins."""


@dataclass(frozen=True)
class PhotoResult:
    """What was marked and what was found.

    Attributes:
        rgb: The photograph, (H, W, 3) uint8.
        marks: The marks, (H, W) uint8: 1 coin, 0 background, 255 not marked.
        mask: The answer, (H, W) uint8: 1 coin, 0 background.
    """

    rgb: np.ndarray
    marks: np.ndarray
    mask: np.ndarray

    @property
    def found(self) -> int:
        """Coins of which at least half was found."""
        return sum(bool(self.mask[_disc(self.mask.shape, *coin)].mean() >= 0.5) for coin in COINS)

    @property
    def stray(self) -> float:
        """Share of the pixels away from the coins that were taken for coins, in 0..1."""
        away = ~np.logical_or.reduce([_disc(self.mask.shape, r, c, radius + 3) for r, c, radius in COINS])
        return float(self.mask[away].mean())


def marked_photo() -> tuple[np.ndarray, np.ndarray]:
    """The photograph, (H, W, 3) uint8, and a few marks on it, (H, W) uint8: 1 coin, 0 background, 255 not marked."""
    from skimage.data import coins

    rgb = np.repeat(coins()[:, :, None], 3, axis=2)
    marks = np.full(rgb.shape[:2], IGNORE, np.uint8)
    for position in MARKED:
        row, column, radius = COINS[position]
        marks[_disc(marks.shape, row, column, radius - 3)] = 1
    for row, column in GAPS:
        marks[_disc(marks.shape, row, column, 5)] = 0
    return rgb, marks


def segment_photo(segmenter: FewShotSegmenter) -> PhotoResult:
    """Show the marks to the segmenter and let it segment the whole photograph."""
    rgb, marks = marked_photo()
    mask = segmenter.fit(rgb, marks, {1: "coin"}).predict(rgb)[0]
    return PhotoResult(rgb, marks, mask)


def photo_tiles(results: dict[str, PhotoResult]) -> list[Tile]:
    """The photograph with its marks, and each method's answer, as small pictures for a report."""
    first = next(iter(results.values()))
    tiles = [Tile("three coins marked (red), background between them (blue)", _with_marks(first))]
    return tiles + [
        Tile(f"{name}: {r.found} of {len(COINS)} coins", overlay(r.rgb, r.mask)) for name, r in results.items()
    ]


def write_photo(tiles: list[Tile], path: Path) -> None:
    """Draw the tiles side by side into a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(tiles), 4.3), layout="constrained")
    for axes, tile in zip(figure.subplots(1, len(tiles), squeeze=False)[0], tiles, strict=True):
        axes.imshow(tile.image)
        axes.set_title(tile.caption, fontsize=10)
        axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_atomic(path, buffer.getvalue())


def _with_marks(result: PhotoResult) -> np.ndarray:
    """The photograph with coin marks red and background marks blue."""
    picture = result.rgb.astype(np.float32)
    for value, colour in ((1, (220, 40, 40)), (0, (40, 90, 230))):
        where = result.marks == value
        picture[where] = 0.45 * picture[where] + 0.55 * np.array(colour, np.float32)
    return picture.astype(np.uint8)


def _disc(shape: tuple[int, ...], row: int, column: int, radius: int) -> np.ndarray:
    """Pixels within `radius` of a point, bool (H, W)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
