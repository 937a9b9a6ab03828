"""Masks laid over their photographs, for people to look at."""

from __future__ import annotations

import numpy as np

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.images import palette

_BAND = 256  # rows at a time: the floats of a large picture would take many times its own memory


def overlay(rgb: np.ndarray, mask: np.ndarray, strength: float = 0.5) -> np.ndarray:
    """A photograph with its classes tinted in VOC colours and outlined; background stays as it is.

    Args:
        rgb: (H, W, 3) uint8.
        mask: (H, W) uint8 class ids; 0 is background, 254 not marked and left as it is, 255 unknown and
            tinted white.
        strength: Share of the colour in a tinted pixel, in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    tinted = np.empty_like(rgb)
    for top in range(0, len(rgb), _BAND):
        stop = min(top + _BAND, len(rgb))
        first, last = max(0, top - 1), min(stop + 1, len(rgb))  # an outline depends on the rows next to it
        band = _tint(rgb[first:last], mask[first:last], strength)
        tinted[top:stop] = band[top - first : stop - first]
    return tinted


def _tint(rgb: np.ndarray, mask: np.ndarray, strength: float) -> np.ndarray:
    colours = palette().astype(np.float32)[mask]  # (H, W, 3)
    colours[mask == IGNORE] = 255
    share = np.where((mask > 0) & (mask != UNLABELLED), strength, 0.0).astype(np.float32)
    share[edges(mask) & (mask < UNLABELLED)] = 1
    tinted = rgb * (1 - share[..., None]) + colours * share[..., None]
    return np.round(tinted).astype(np.uint8)


def edges(mask: np.ndarray) -> np.ndarray:
    """Foreground pixels with a 4-neighbour of another class, bool (H, W)."""
    padded = np.pad(mask, 1, mode="edge")
    middle = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (mask > 0) & np.logical_or.reduce([n != middle for n in neighbours])
