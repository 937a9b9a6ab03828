"""The scribbles that ScribbleSup drew on PASCAL VOC (Lin et al., CVPR 2016), in the XML files of that data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from pixgraph.data.mark_types import Annotation, Scribble
from pixgraph.data.marks import from_marks
from pixgraph.errors import DataError

WIDTH = 3
"""Pen in pixels; the files hold lines without a width."""


def read_scribblesup(
    path: str | Path, shape: tuple[int, int], names: Mapping[int, str], background: int | None = 0, width: int = WIDTH
) -> Annotation:
    """Read one picture's file: ``<polygon>`` elements with a ``<tag>`` and ``<point><X>..</X><Y>..</Y></point>``.

    A polygon is an open line. Coordinates that equal the width or height count as the last pixel. Where scribbles of
    two classes cross, the common pixels stay unlabelled, as people's lines sometimes touch.

    Args:
        path: The file.
        shape: Height and width of the picture.
        names: Class number to name, the background's included.
        background: Number of the background.
        width: The pen's diameter in pixels.

    Raises:
        DataError: The file is missing or broken, marks pixels outside the picture or an unknown class, or has an empty
            scribble or one that others of another class cover completely.
    """
    from pixgraph.data.annotation_files import class_number

    where = str(path)
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f"{path}: cannot read the scribbles ({error}); expected XML of ScribbleSup") from error
    scribbles = []
    for polygon in root.iter("polygon"):
        c = class_number((polygon.findtext("tag") or "").strip(), names, where)
        try:
            corners = [(_number(point.findtext("X")), _number(point.findtext("Y"))) for point in polygon.iter("point")]
        except ValueError as error:
            raise DataError(f"{path}: got the coordinate {error}, expected numbers in X and Y; correct it") from error
        inside = tuple((x - (x == shape[1]), y - (y == shape[0])) for x, y in corners)
        scribbles.append(Scribble(inside, width, c))
    if not scribbles:
        raise DataError(f"{path}: got no <polygon>, expected the scribbles of a picture; remove or complete the file")
    return from_marks(shape, scribbles=scribbles, background=background, where=where, crossing=True)


def _number(text: str | None) -> int:
    """A coordinate.

    Raises:
        ValueError: It is no number; the error is its text.
    """
    try:
        return int(float(text or ""))
    except (ValueError, OverflowError) as error:
        raise ValueError(repr(text)) from error
