"""The small pictures of a panel: masks over photographs, and where a prediction is wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.images import resize_mask
from pixgraph.overlay import edges

WAYS = ((0, 214, 143), (255, 77, 196), (255, 214, 10), (0, 200, 255), (255, 95, 87), (150, 110, 255))
"""Colours of the ways 1, 2, ..., over and over; none of them is a colour of the error map."""
HIT, FALSE_ALARM, MISS, WRONG_WAY = (235, 235, 235), (255, 122, 26), (37, 128, 255), (200, 80, 220)
"""Colours of the error map."""


@dataclass(frozen=True)
class Tile:
    """One small picture with the words below it."""

    caption: str
    image: np.ndarray  # (H, W, 3) uint8


def shrink(rgb: np.ndarray, mask: np.ndarray | None, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture and mask with a longer side of `side` pixels; the mask by nearest neighbour, all background if none.

    Args:
        rgb: (H, W, 3) uint8.
        mask: (h, w) labels of the same picture, of any size.
        side: Longer side of the answer.
    """
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = np.asarray(Image.fromarray(rgb).resize(size[::-1], Image.Resampling.BILINEAR))
    return small, np.zeros(size, np.uint8) if mask is None else resize_mask(mask.astype(np.uint8), size)


def tint(rgb: np.ndarray, mask: np.ndarray, strength: float = 0.45) -> np.ndarray:
    """A photograph with its ways tinted and outlined; background is dimmed a little, unknown pixels are whitened.

    Where some pixels are not marked (254), these stay as they are, and the marks of the background are dark.

    Args:
        rgb: (H, W, 3) uint8.
        mask: (H, W) labels 0..N, 254 and 255.
        strength: Share of the colour in a tinted pixel.

    Returns:
        (H, W, 3) uint8.
    """
    colours = np.zeros((256, 3), np.float32)
    colours[1:] = np.array(WAYS, np.float32)[np.arange(255) % len(WAYS)]
    colours[IGNORE] = 255
    free = mask == UNLABELLED
    share = np.where(mask > 0, strength, 0.7 if free.any() else 0.15).astype(np.float32)
    share[edges(mask) & (mask < UNLABELLED)] = 1
    share[free] = 0
    mixed = rgb * (1 - share[..., None]) + colours[mask] * share[..., None]
    return np.round(mixed).astype(np.uint8)


def error_map(rgb: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Hits, false alarms, misses and confused ways in four colours over a dark grey photograph.

    Args:
        rgb: (H, W, 3) uint8.
        prediction: (H, W) labels 0..N.
        truth: (H, W) labels 0..N and 255; unknown pixels stay grey.

    Returns:
        (H, W, 3) uint8.
    """
    grey = np.repeat(rgb.mean(-1, keepdims=True) * 0.45, 3, axis=-1)
    shown, wanted = prediction > 0, (truth > 0) & (truth != IGNORE)
    known = truth != IGNORE
    for where, colour in (
        (shown & wanted & (prediction == truth), HIT),
        (shown & ~wanted & known, FALSE_ALARM),
        (~shown & wanted, MISS),
        (shown & wanted & (prediction != truth), WRONG_WAY),
    ):
        grey[where] = 0.25 * grey[where] + 0.75 * np.array(colour)
    return np.round(grey).astype(np.uint8)


def episode_tiles(
    supports: Sequence[tuple[np.ndarray, np.ndarray]],
    query: np.ndarray,
    truth: np.ndarray | None,
    predictions: dict[str, np.ndarray],
    side: int = 200,
) -> list[Tile]:
    """Supports with their masks, the query, its truth, and each method's answer; an error map for the first method.

    Args:
        supports: Pictures (H, W, 3) uint8 with their labels (H, W).
        query: (H, W, 3) uint8.
        truth: (H, W) labels of the query, if known.
        predictions: Method to its labels (H, W) for the query.
        side: Longer side of a tile, in pixels.
    """
    tiles = [Tile("support", tint(*shrink(rgb, mask, side))) for rgb, mask in supports]
    tiles.append(Tile("query", shrink(query, None, side)[0]))
    if truth is not None:
        tiles.append(Tile("truth", tint(*shrink(query, truth, side))))
    for position, (name, prediction) in enumerate(predictions.items()):
        small, labels = shrink(query, prediction, side)
        tiles.append(Tile(name, tint(small, labels)))
        if truth is not None and position == 0:
            tiles.append(Tile("errors", error_map(small, labels, shrink(query, truth, side)[1])))
    return tiles


def panel_figure(tiles: Sequence[Tile], gap: int = 6) -> Image.Image:
    """All tiles in one row on white, with their captions below: one picture for a README or a slide."""
    height = max(tile.image.shape[0] for tile in tiles)
    width = sum(tile.image.shape[1] + gap for tile in tiles) - gap
    canvas = Image.new("RGB", (width, height + 16), "white")
    draw = ImageDraw.Draw(canvas)
    left = 0
    for tile in tiles:
        canvas.paste(Image.fromarray(tile.image), (left, 0))
        # Pillow's own font has no more characters than these.
        draw.text((left + 1, height + 2), tile.caption.encode("ascii", "replace").decode(), fill="black")
        left += tile.image.shape[1] + gap
    return canvas


def data_uri(image: np.ndarray, quality: int = 82) -> str:
    """A picture (H, W, 3) uint8 as a JPEG that a page can hold."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
