"""A sheet of small pictures with their masks, to see at a glance whether a data set is what one believes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pixgraph.data.base import IGNORE, UNLABELLED, FewShotDataset
from pixgraph.overlay import overlay

CAPTION = 14


def contact_sheet(dataset: FewShotDataset, indices: Sequence[int], side: int = 192, columns: int = 6) -> Image.Image:
    """Pictures with their masks laid over them, each with its key and classes below.

    Args:
        dataset: Where they come from.
        indices: Which pictures.
        side: Largest side of a small picture, in pixels.
        columns: Pictures in a row.

    Raises:
        DataError: A picture or mask is broken.
    """
    columns = max(1, min(columns, len(indices)))
    rows = -(-len(indices) // columns)
    sheet = Image.new("RGB", (columns * (side + 4), rows * (side + 2 * CAPTION + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for position, index in enumerate(indices):
        x, y = (position % columns) * (side + 4), (position // columns) * (side + 2 * CAPTION + 4)
        small, classes = _thumbnail(dataset, index, side)
        sheet.paste(small, (x + (side - small.width) // 2, y + (side - small.height) // 2))
        key, names = _plain(dataset.samples[index].key), _plain(", ".join(classes))
        most = side // 6  # characters that fit
        draw.text((x, y + side), key if len(key) <= most else "..." + key[3 - most :], fill="black")
        draw.text((x, y + side + CAPTION), names if len(names) <= most else names[: most - 3] + "...", fill="dimgray")
    return sheet


def _thumbnail(dataset: FewShotDataset, index: int, side: int) -> tuple[Image.Image, list[str]]:
    """A picture with its mask, at most `side` wide and high, and the names of its classes."""
    rgb = dataset.read_image(index)
    classes = ["no mask"]
    scale = min(1.0, side / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))  # (width, height)
    small = np.asarray(Image.fromarray(rgb).resize(size))
    if dataset.has_mask(index):
        mask = dataset.read_mask(index)
        found = [int(c) for c in np.unique(mask) if c not in (0, UNLABELLED, IGNORE)]
        classes = [dataset.class_names.get(c, f"id {c}") for c in found] or ["background only"]
        small = overlay(small, np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)))
    return Image.fromarray(small), classes


def _plain(text: str) -> str:
    """`text` in the characters that Pillow's own font has."""
    return text.encode("ascii", "replace").decode()
