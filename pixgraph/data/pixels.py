"""From decoded pictures and arrays of any mode, type and orientation to uint8 RGB and uint8 class ids."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from pixgraph.errors import DataError

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow stretches grey PNGs of 2 and 4 bits to 0..255, which would turn class 1 into 85 or 17.
_STRETCH = {"L;2": 85, "L;4": 17}
# What Pillow's readers raise for broken bytes, besides OSError.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    struct.error,
    zlib.error,
)


def orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 when the EXIF block is broken, which need not spoil the picture."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the whole picture to look for a block behind it
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except BROKEN:
        return 1
    return value if value in _TRANSPOSE else 1


def upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation asks."""
    turn = orientation(image)
    return image if turn == 1 else image.transpose(_TRANSPOSE[turn])


def to_rgb(image: Image.Image, name: str) -> np.ndarray:
    """uint8 RGB (H, W, 3) of a picture of any mode: transparency over white, CMYK converted, 16-bit scaled."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image)
        if image.mode == "F" and np.isfinite(values).all() and values.max() > 1:
            values = np.round(values).astype(np.int64)  # a float TIFF of grey values
        return rgb_of_array(values, channels_first=False, name=name)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def to_numbers(image: Image.Image, name: str) -> np.ndarray:
    """uint8 (H, W) of a mask: the numbers that its file holds, never colours.

    Raises:
        DataError: The mask is coloured, or a number lies outside 0..255.
    """
    tile = getattr(image, "tile", None)
    rawmode = tile[0][3] if tile else None
    stretch = _STRETCH.get(rawmode, 1) if isinstance(rawmode, str) else 1
    array = np.asarray(upright(image))
    if image.mode in ("LA", "PA"):
        array = array[:, :, 0]
    if image.mode in ("RGB", "RGBA"):
        if (array[:, :, :1] != array[:, :, 1:3]).any():
            raise DataError(
                f"{name}: got a coloured mask (mode {image.mode}), expected one number a pixel; save it as a "
                "palette or grey PNG that holds class ids"
            )
        array = array[:, :, 0]
    if array.ndim != 2:
        raise DataError(f"{name}: got a mask of mode {image.mode}, expected P, L, 1 or I;16; save it as a grey PNG")
    return small_numbers(array, name) // np.uint8(stretch)


def small_numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Whole numbers 0..255 of any type as uint8.

    Raises:
        DataError: They are fractions, or outside 0..255.
    """
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.round(array)).all()):
        raise DataError(f"{name}: got fractions, expected whole numbers; save the class ids, not probabilities")
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: got values of type {array.dtype}, expected whole numbers in 0..255")
    low, high = array.min(), array.max()
    if low < 0 or high > 255:
        raise DataError(f"{name}: got numbers {low}..{high}, expected class ids in 0..255; use 255 for unknown pixels")
    return array.astype(np.uint8)


def is_tensor(source: Any) -> bool:
    """Whether `source` is a torch tensor, told without importing torch."""
    return hasattr(source, "detach") and hasattr(source, "cpu")


def to_array(source: Any, what: str) -> np.ndarray:
    """The values of an array or of a tensor on any device.

    Raises:
        DataError: It is neither.
    """
    if is_tensor(source):
        tensor = source.detach().cpu()
        return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()  # NumPy has no bfloat16
    if isinstance(source, np.ndarray):
        return source
    raise DataError(f"{what}: got {type(source).__name__}, expected a path, a PIL image, a NumPy array or a tensor")


def rgb_of_array(array: np.ndarray, channels_first: bool, name: str = "picture") -> np.ndarray:
    """uint8 RGB (H, W, 3) of a numeric array with one, three or four channels.

    Raises:
        DataError: The shape, the type or the range of the values is none that a picture has.
    """
    if array.ndim == 3:
        first, last = array.shape[0] in (1, 3, 4), array.shape[2] in (1, 3, 4)
        if first and (channels_first or not last):
            array = np.moveaxis(array, 0, 2)
    grey_or_colour = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not grey_or_colour or not array.size:
        raise DataError(f"{name}: got shape {array.shape}, expected (H, W) or (H, W, 3), or a tensor (3, H, W)")
    array = _eight_bits(array, name)
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if array.shape[2] == 4:
        return to_rgb(Image.fromarray(np.ascontiguousarray(array), "RGBA"), name)
    return np.ascontiguousarray(array)


def _eight_bits(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name}: got values of type {array.dtype}, expected integers in 0..255 or floats in 0..1")
    low, high = float(array.min()), float(array.max())
    if array.dtype == bool or (array.dtype.kind == "f" and low >= 0 and high <= 1):
        return np.round(array.astype(np.float32) * 255).astype(np.uint8)
    if array.dtype.kind in "iu" and low >= 0 and high <= 65535:
        scale = 1 if high < 256 else 4095 / 255 if high < 4096 else 65535 / 255
        return np.round(array / scale).astype(np.uint8)
    raise DataError(f"{name}: got values {low:g}..{high:g}, expected integers in 0..255 or floats in 0..1")
