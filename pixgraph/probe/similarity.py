"""How similar every place of a picture is to one vector, and the picture that shows it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from pixgraph.data.picture import Picture
from pixgraph.probe.embedding import Embedding


def similarity_map(picture: Picture, vector: np.ndarray, embedding: Embedding, stride: int = 4) -> np.ndarray:
    """Cosine of every pixel with a vector.

    Args:
        picture: A picture with feature maps.
        vector: (C,) of unit length, from the same embedding.
        embedding: Gives the picture's vectors.
        stride: They are compared on cells of this side, in pixels of the working size, and interpolated.

    Returns:
        (H, W) float32 in [-1, 1] at the working size.
    """
    cells = embedding.cells(picture, stride)  # (h, w, C)
    cosine = (cells @ torch.from_numpy(vector).to(cells))[None, None]
    return F.interpolate(cosine, picture.rgb.shape[-2:], mode="bilinear", align_corners=False)[0, 0].cpu().numpy()


def similarity_at(
    picture: Picture, row: int, column: int, embedding: Embedding, stride: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Similarity map of one pixel within its picture.

    Args:
        picture: A picture with feature maps.
        row: Row of the pixel at the working size.
        column: Its column.
        embedding: Gives the vectors.
        stride: See `similarity_map`.

    Returns:
        The map (H, W) float32, and the pixel's vector (C,) float32.
    """
    cells = embedding.cells(picture, stride)
    height, width = picture.rgb.shape[-2:]
    vector = cells[row * cells.shape[0] // height, column * cells.shape[1] // width].cpu().numpy()
    return similarity_map(picture, vector, embedding, stride), vector


def heat(rgb: np.ndarray, similarity: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """A photograph in grey under the colours of a similarity map: dark is -1 or the lowest, bright yellow is 1.

    Args:
        rgb: (H, W, 3) uint8.
        similarity: (H, W) float.
        strength: Share of the colour.

    Returns:
        (H, W, 3) uint8.
    """
    low = min(0.0, float(similarity.min()))
    level = np.clip((similarity - low) / max(1 - low, 1e-6), 0, 1)
    colours = _colours()[np.round(255 * level).astype(np.int64)]
    grey = rgb.mean(-1, keepdims=True)
    return np.round((1 - strength) * grey + strength * colours).astype(np.uint8)


def mark(rgb: np.ndarray, row: float, column: float, colour: tuple[int, int, int]) -> np.ndarray:
    """A picture (H, W, 3) uint8 with a ring around a place."""
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    radius = max(3, round(min(rgb.shape[:2]) / 28))
    box = (column - radius, row - radius, column + radius, row + radius)
    draw.ellipse(box, outline=(0, 0, 0), width=4)
    draw.ellipse(box, outline=colour, width=2)
    return np.asarray(image)


@lru_cache(maxsize=1)
def _colours() -> np.ndarray:
    """Matplotlib's inferno, (256, 3) float32 in 0..255."""
    from matplotlib import colormaps

    return (255 * colormaps["inferno"](np.arange(256))[:, :3]).astype(np.float32)
