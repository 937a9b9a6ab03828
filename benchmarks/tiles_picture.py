"""A large picture with its truth, put together from small labelled ones, for `speed_tiles.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pixgraph.tiling import cut_tile

if TYPE_CHECKING:
    from pixgraph.data.base import FewShotDataset

CLASSES = 2
SHOTS = 5


@dataclass(frozen=True)
class LargePicture:
    """A picture to segment and a labelled one of the same size and scale, without a small picture in common.

    Attributes:
        rgb: (S, S, 3) uint8.
        truth: (S, S) uint8: 0 background, 1..N.
        support_rgb: (S, S, 3) uint8, made of `SHOTS` small pictures a class.
        support_mask: (S, S) uint8.
        names: Of the N classes.
    """

    rgb: np.ndarray
    truth: np.ndarray
    support_rgb: np.ndarray
    support_mask: np.ndarray
    names: list[str]

    def part(self, side: int) -> LargePicture:
        """The upper left `side` x `side` pixels of both."""
        at = slice(side), slice(side)
        return LargePicture(self.rgb[at], self.truth[at], self.support_rgb[at], self.support_mask[at], self.names)


def large_picture(dataset: FewShotDataset, side: int, cell: int, seed: int = 0) -> LargePicture:
    """Small pictures side by side: turned and mirrored at random, cut or mirrored to cell x cell pixels.

    Args:
        dataset: Its `CLASSES` commonest classes are shown; other classes count as background.
        side: S, in pixels.
        cell: Side of a small picture; its borders are moved by a random number of pixels, so that they are not where
            borders of tiles are.
        seed: Of everything random.
    """
    rng = np.random.default_rng([seed])
    areas = dataset.areas
    classes = sorted(sorted(areas, key=lambda c: (-len(areas[c]), c))[:CLASSES])
    supports, queries = [], []
    for c in classes:
        shown = rng.permutation(sorted(i for i in areas[c] if not any(i in areas[o] for o in classes if o < c)))
        supports += shown[:SHOTS].tolist()
        queries += shown[SHOTS:].tolist()
    rgb, truth = _mosaic(dataset, queries, classes, side, cell, rng)
    support_rgb, support_mask = _mosaic(dataset, supports, classes, side, cell, rng)
    return LargePicture(rgb, truth, support_rgb, support_mask, [dataset.class_names[c] for c in classes])


def _mosaic(
    dataset: FewShotDataset, indices: list[int], classes: list[int], side: int, cell: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    rgb, mask = np.empty((side, side, 3), np.uint8), np.empty((side, side), np.uint8)
    whole = slice(0, cell), slice(0, cell)
    table = np.zeros(256, np.uint8)
    table[classes] = np.arange(1, len(classes) + 1)
    table[255] = 255
    first_row, first_column = -rng.integers(1, cell, 2)
    for row in range(first_row, side, cell):
        for column in range(first_column, side, cell):
            index, turn, mirror = rng.choice(indices), int(rng.integers(4)), rng.integers(2)
            small = cut_tile(dataset.read_image(index), *whole, cell)
            label = cut_tile(table[dataset.read_mask(index)], *whole, cell)
            small, label = (np.rot90(a[:, ::-1] if mirror else a, turn) for a in (small, label))
            inside = [slice(max(0, at), min(side, at + cell)) for at in (row, column)]
            source = tuple(slice(s.start - at, s.stop - at) for s, at in zip(inside, (row, column), strict=True))
            rgb[tuple(inside)], mask[tuple(inside)] = small[source], label[source]
    return rgb, mask
