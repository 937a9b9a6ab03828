"""Rows of small pictures with captions, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

RIGHT, WRONG, PLAIN = (43, 158, 90), (214, 64, 52), (120, 126, 135)
"""Colours of frames: an answer of the right class, of a wrong one, and what is no answer or of unknown class."""

_CAPTION, _GAP, _FRAME = 14, 6, 3


@dataclass(frozen=True)
class Cell:
    """A small picture.

    Attributes:
        image: (H, W, 3) uint8.
        caption: Words below it.
        frame: Colour of its frame.
    """

    image: np.ndarray
    caption: str = ""
    frame: tuple[int, int, int] = PLAIN


def draw_sheet(rows: Sequence[Sequence[Cell]], size: tuple[int, int]) -> Image.Image:
    """All cells, each scaled to `size`, row by row on white.

    Args:
        rows: Cells; rows may differ in length.
        size: Width and height of a cell in pixels.
    """
    width, height = size
    across, down = width + 2 * _FRAME + _GAP, height + 2 * _FRAME + _CAPTION + _GAP
    columns = max(len(row) for row in rows)
    canvas = Image.new("RGB", (columns * across - _GAP, len(rows) * down - _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            left, top = j * across, i * down
            corner = (left + width + 2 * _FRAME - 1, top + height + 2 * _FRAME - 1)
            draw.rectangle((left, top, *corner), fill=cell.frame)
            small = Image.fromarray(cell.image).resize(size, Image.Resampling.BILINEAR)
            canvas.paste(small, (left + _FRAME, top + _FRAME))
            draw.text((left, corner[1] + 2), _short(cell.caption, width // 6), fill="black")
    return canvas


def cell_size(sizes: Sequence[tuple[int, int]], height: int = 120) -> tuple[int, int]:
    """Width and height of the cells for pictures that are mostly of one shape.

    Args:
        sizes: Height and width of the original pictures.
        height: Height of a cell.
    """
    ratio = float(np.median([w / h for h, w in sizes]))
    return round(height * min(2.5, max(0.5, ratio))), height


def _short(text: str, most: int) -> str:
    """Text that fits, in the characters that Pillow's own font has."""
    text = text.encode("ascii", "replace").decode()
    return text if len(text) <= most else text[: most - 2] + ".."
