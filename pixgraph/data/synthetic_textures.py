"""Textures cut from the photographs that come inside scikit-image's wheel; nothing is fetched."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from PIL import Image

from pixgraph.errors import DataError

Box = tuple[int, int, int, int]


class Source(NamedTuple):
    """Where a texture comes from.

    Attributes:
        file: In scikit-image's data folder.
        zoom: Pixels of the photograph to one of a piece, at which the texture is best seen at 128 pixels.
        box: Left, top, right and bottom of the part that shows the texture; `None`: all of it.
    """

    file: str
    zoom: float = 1.2
    box: Box | None = None


TEXTURES: dict[str, Source] = {
    "brick": Source("brick.png", 1.8),
    "fur": Source("chelsea.png", 1.2, (110, 0, 330, 150)),
    "tissue": Source("ihc.png", 1.6),
    "print": Source("page.png", 1.3, (0, 40, 384, 150)),
    "crater": Source("moon.png", 1.6, (120, 100, 512, 512)),
    "galaxy": Source("hubble_deep_field.jpg", 1.4),
    "gravel": Source("gravel.png", 1.3),
    "vein": Source("retina.jpg", 3.0, (250, 250, 1150, 1150)),
    "grass": Source("grass.png", 1.2),
    "coin": Source("coins.png", 2.2, (0, 0, 384, 303)),
    "script": Source("text.png", 1.8),
    "cafe": Source("coffee.png"),
    "garage": Source("motorcycle_left.png"),
    "lawn": Source("camera.png"),
    "launch": Source("rocket.jpg"),
    "lens": Source("clock_motion.png"),
    "portrait": Source("astronaut.png"),
    "plate": Source("cell.png"),
}
"""Name of each texture to its place in scikit-image."""


@cache
def load_texture(name: str) -> Image.Image:
    """The luminance of a texture's photograph.

    Raises:
        DataError: This version of scikit-image does not bring the photograph along.
    """
    file, _, box = TEXTURES[name]
    place = files("skimage.data").joinpath(file)
    if not place.is_file():
        raise DataError(
            f"synthetic data: {file} is not inside the installed scikit-image, which synthetic pictures are cut from; "
            "install scikit-image 0.22 or newer from its wheel"
        )
    with place.open("rb") as handle:
        picture = Image.open(handle).convert("L")
    return picture if box is None else picture.crop(box)


def cut(name: str, height: int, width: int, zoom: float, angle: float, place: tuple[float, float]) -> np.ndarray:
    """A turned and scaled piece of a texture, of mean 0 and deviation 1.

    Args:
        name: One of `TEXTURES`.
        height: Of the piece, in pixels.
        width: Of the piece, in pixels.
        zoom: Shrinks the texture, relative to how it is best seen; less where the photograph is too small.
        angle: Turn, in radians.
        place: Where in the photograph, each in 0..1.

    Returns:
        (height, width) float32.
    """
    source = load_texture(name)
    reach = 0.5 * float(np.hypot(height, width))
    # The circle around the piece must lie within the photograph.
    zoom = min(zoom * TEXTURES[name].zoom, 0.49 * min(source.size) / reach)
    x = reach * zoom + place[0] * (source.width - 2 * reach * zoom)
    y = reach * zoom + place[1] * (source.height - 2 * reach * zoom)
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    shift = (x - c * width / 2 + s * height / 2, y - s * width / 2 - c * height / 2)
    matrix = (c, -s, shift[0], s, c, shift[1])
    piece = source.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    values = np.asarray(piece, np.float32)
    return (values - values.mean()) / (values.std() + 4)
