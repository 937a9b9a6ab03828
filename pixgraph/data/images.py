"""Pictures and masks from files and from memory: every way they can be stored, and every way they can be broken."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixgraph.data.pixels import (
    BROKEN,
    is_tensor,
    orientation,
    rgb_of_array,
    small_numbers,
    to_array,
    to_numbers,
    to_rgb,
    upright,
)
from pixgraph.errors import DataError

MAX_PIXELS = 80_000_000
"""Largest picture that is decoded; a few kB of PNG can otherwise claim all memory. Below Pillow's own warning level."""

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000")
"""File formats that are read. Pillow knows others, some of which start external programs."""


_REFUSED = (errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE)  # not the picture's own fault


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture as RGB, upright.

    EXIF orientation is applied; transparency is laid over white; 16-bit grey is scaled to 8 bits (values below 4096
    count as 12-bit, as cameras and microscopes write them).

    Returns:
        uint8, shape (H, W, 3).

    Raises:
        DataError: The file is missing, empty, truncated, not a picture, or larger than `MAX_PIXELS`.
    """
    with _opened(path) as image:
        return to_rgb(upright(image), str(path))


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask's numbers as they are stored: palette indices, not palette colours.

    Modes P, L, 1, I and I;16 are read as numbers; a grey mask stored as RGB (three equal channels) is understood too.

    Returns:
        uint8, shape (H, W), EXIF orientation applied.

    Raises:
        DataError: As `read_image`, or the mask is coloured, or a number is above 255.
    """
    with _opened(path) as image:
        return to_numbers(image, str(path))


def read_foreground(path: str | Path) -> np.ndarray:
    """Read a mask of a single object: foreground above 127, or above 0 where no number exceeds 1.

    Coloured and half transparent masks (as FSS-1000 has them) count by their red channel.

    Returns:
        bool, shape (H, W).

    Raises:
        DataError: As `read_image`.
    """
    with _opened(path) as image:
        if image.mode in ("RGB", "RGBA", "CMYK", "YCbCr"):
            image = upright(image).convert("RGB").getchannel(0)
        numbers = to_numbers(image, str(path))
        return numbers > (0 if numbers.max() <= 1 else 127)


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a picture as `read_image` would return it, from the header where the format allows.

    Raises:
        DataError: As `read_image`, except that truncation goes unnoticed.
    """
    with _opened(path) as image:
        width, height = image.size
        return (width, height) if orientation(image) >= 5 else (height, width)


def load_image(source: Any) -> np.ndarray:
    """A picture from whatever the caller holds.

    Args:
        source: Path; PIL image; array (H, W), (H, W, C) or tensor (C, H, W) with C in 1, 3, 4; integers in
            0..255 (or 16-bit 0..65535) or floats in 0..1.

    Returns:
        uint8 RGB, shape (H, W, 3).

    Raises:
        DataError: The type, the shape or the range of the values is none of these, or the picture is broken.
    """
    if isinstance(source, (str, Path)):
        return read_image(source)
    if isinstance(source, Image.Image):
        with _decoding("picture"):
            return to_rgb(upright(source), "picture")
    return rgb_of_array(to_array(source, "picture"), channels_first=is_tensor(source))


def load_mask(source: Any) -> np.ndarray:
    """A mask from whatever the caller holds.

    Args:
        source: Path; PIL image; array or tensor (H, W), (1, H, W) or (H, W, 1) of whole numbers in 0..255 or booleans.

    Returns:
        uint8, shape (H, W).

    Raises:
        DataError: The type, the shape or the range of the values is none of these.
    """
    if isinstance(source, (str, Path)):
        return read_mask(source)
    if isinstance(source, Image.Image):
        with _decoding("mask"):
            return to_numbers(source, "mask")
    array = to_array(source, "mask")
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array[0] if array.shape[0] == 1 else array[:, :, 0]
    if array.ndim != 2 or not array.size:
        raise DataError(f"mask: got shape {array.shape}, expected (H, W) with at least one pixel")
    return small_numbers(array, "mask")


def resize_image(rgb: np.ndarray, size: int) -> np.ndarray:
    """Squash a picture (H, W, 3) uint8 to (size, size, 3), bilinear with antialiasing."""
    if rgb.shape[:2] == (size, size):
        return rgb
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).resize((size, size), Image.Resampling.BILINEAR))


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask (H, W) uint8 to `size` = (height, width) by nearest neighbour, so that no new number appears."""
    if mask.shape == tuple(size):
        return mask
    height, width = size
    return np.asarray(Image.fromarray(np.ascontiguousarray(mask)).resize((width, height), Image.Resampling.NEAREST))


@lru_cache(maxsize=1)
def palette() -> np.ndarray:
    """The colours of PASCAL VOC masks, uint8 (256, 3): bit b of colour c comes from bit 3 b + c of the class id."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    colours.flags.writeable = False
    return colours


def write_palette_mask(path: str | Path, mask: np.ndarray) -> None:
    """Write a mask (H, W) uint8 as a palette PNG in VOC colours; the file appears whole or not at all.

    Raises:
        DataError: The folder is missing or the file cannot be written (full disk, no permission).
    """
    path = Path(path)
    image = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8)).convert("L")
    image.putpalette(palette().ravel().tolist())
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        image.save(temporary, format="PNG")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write the mask ({error.strerror or error}); check folder and disk") from error


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Open a picture, check its claimed size, and turn whatever goes wrong inside the block into a DataError."""
    path = Path(path)
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected a picture or mask there, check the path")
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty (0 bytes); replace or remove it")
        with warnings.catch_warnings():
            # Our own limit speaks instead; the other warnings are of no use to somebody with a thousand pictures.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(_too_large(path, f"{image.width} x {image.height}"))
                yield image
    except Image.DecompressionBombError as error:
        raise DataError(_too_large(path, "a size beyond Pillow's limit")) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{path}: not a picture; expected one of {', '.join(FORMATS)}; remove it") from error
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno in _REFUSED:
            raise DataError(f"{path}: cannot read it ({error.strerror}); check its permissions and the disk") from error
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: broken or truncated picture ({why}); replace or remove it") from error


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Turn what goes wrong while Pillow decodes an image that the caller opened into a DataError."""
    try:
        yield
    except (*BROKEN, AssertionError) as error:  # the last one: a closed file
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{what}: broken, truncated or closed image ({why}); open or replace it") from error


def _too_large(path: Path, size: str) -> str:
    return f"{path}: got {size} pixels, expected at most {MAX_PIXELS:,} in all; scale the picture down"
