"""Partial labels: of every class in a picture one pixel or a region stays labelled (ReCo, Liu et al., ICLR 2022)."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.keyed_random import keyed_generator
from pixgraph.errors import ConfigError

PartialRatio = Literal["p0", "p1", "p5", "p25"]
"""One pixel a class, or 1, 5 or 25 % of its pixels."""

SHARES = MappingProxyType(dict(zip(get_args(PartialRatio), (0.0, 0.01, 0.05, 0.25), strict=True)))

_REACH = 2  # a step grows by a square of 5 x 5 pixels


def partial_label(label: np.ndarray, ratio: str, seed: int = 0, key: str = "") -> np.ndarray:
    """The label with all but a share of every class set to 254.

    From a random pixel of the class a region grows by squares of 5 x 5 pixels inside the class until it has the share.
    Of the last step the pixels nearest to the first one are kept, so that the share is exact (the original keeps whole
    steps, up to 25 pixels for a region of one). Where the part of the class around the first pixel is used up, another
    random pixel of the class continues.

    Args:
        label: Class numbers, uint8 (H, W); 254 and 255 stay as they are.
        ratio: ``"p0"``: one pixel a class; ``"p1"``, ``"p5"``, ``"p25"``: 1, 5, 25 % of its pixels, rounded up.
        seed: Seed of the draws, >= 0.
        key: The picture's name: pictures draw independently, and the same way every time.

    Returns:
        uint8 (H, W).

    Raises:
        ConfigError: The ratio is unknown.
    """
    if ratio not in SHARES:
        raise ConfigError(f"label_ratio: got {ratio!r}, expected one of {', '.join(SHARES)}; correct it")
    share = SHARES[ratio]
    kept = np.where(label == IGNORE, IGNORE, UNLABELLED).astype(np.uint8)
    # A frame of no class replaces checks of the picture's border.
    framed = np.pad(label, _REACH, constant_values=IGNORE)
    width = framed.shape[1]
    steps = np.arange(-_REACH, _REACH + 1)
    square = (steps[:, None] * width + steps).ravel()
    order = np.argsort(framed, axis=None, kind="stable")
    numbers, starts, counts = np.unique(framed.ravel()[order], return_index=True, return_counts=True)
    for c, start, count in zip(numbers.tolist(), starts, counts, strict=True):
        if c < UNLABELLED:
            pixels = order[start : start + count]
            wanted = max(1, math.ceil(share * count - 1e-9))  # 0.05 * 20 is a little above 1
            chosen = _grown(framed.ravel() == c, pixels, wanted, square, width, keyed_generator(seed, key, f"part {c}"))
            kept[chosen // width - _REACH, chosen % width - _REACH] = c
    return kept


def _grown(
    free: np.ndarray, pixels: np.ndarray, wanted: int, square: np.ndarray, width: int, rng: np.random.Generator
) -> np.ndarray:
    """`wanted` pixels of a class around random ones of it.

    Args:
        free: bool (n,), the flat picture: pixels of the class; those that are taken are cleared.
        pixels: Flat positions of the class, more than `wanted` or as many.
        wanted: How many to take.
        square: Offsets of a step.
        width: Pixels of a row.
        rng: Draws the first pixels.
    """
    taken: list[np.ndarray] = []
    missing = wanted
    ring = pixels[:0]
    for first in rng.permutation(pixels) if wanted > 1 else rng.choice(pixels, 1):
        if not free[first]:
            continue
        ring = np.array([first])
        while ring.size:
            if ring.size > missing:
                away = np.square(ring // width - first // width) + np.square(ring % width - first % width)
                ring = ring[np.argsort(away, kind="stable")[:missing]]
            free[ring] = False
            taken.append(ring)
            missing -= ring.size
            if not missing:
                return np.concatenate(taken)
            around = (ring[:, None] + square).ravel()
            ring = np.unique(around[free[around]])
    return np.concatenate(taken)
