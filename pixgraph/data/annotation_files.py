"""Annotations in files: JSON of marks, PNG of class numbers, and the XML files of ScribbleSup.

JSON, every entry optional, pixels counted from 0, x to the right, classes by name or number::

    {"points": [{"x": 5, "y": 7, "class": "cat"}],
     "scribbles": [{"points": [[1, 1], [9, 4]], "width": 3, "class": "background"}],
     "boxes": [{"box": [x1, y1, x2, y2], "class": "cat"}],
     "tags": ["cat", "dog"],
     "size": [width, height]}

A box ends before x2 and y2; ``size`` is the picture's, and only checked. PNG: class numbers, 254 where nothing is
marked, 255 to ignore.

A number means in marks what it means in the masks of the same folder, for supports and for a training alike: an entry
of ``classes.json``, or 1 and 0 for the class of the folder and all else. For data sets of the catalog it is the class
id that ``pixgraph data check`` prints.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.class_table import plain_name
from pixgraph.data.images import read_mask, write_palette_mask
from pixgraph.data.json_files import read_json
from pixgraph.data.mark_types import Annotation, Box, Point, Scribble
from pixgraph.data.marks import from_marks
from pixgraph.errors import DataError

SUFFIXES = (".json", ".png", ".xml")
"""Endings of annotation files."""

_ENTRIES = ("points", "scribbles", "boxes", "tags", "size")


def read_annotation(
    path: str | Path, shape: tuple[int, int], names: Mapping[int, str], background: int | None = 0
) -> Annotation:
    """Read the annotation of one picture; the file's ending tells the format.

    Args:
        path: A file that ends in one of `SUFFIXES`.
        shape: Height and width of the picture.
        names: Class number to name, the background's included where there is one.
        background: Number of the class around objects, or None.

    Raises:
        DataError: The file is missing or broken, marks a pixel outside the picture or an unknown class, has an empty
            scribble, a box of no area or contradictory marks, or says nothing at all.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return _read_json(path, shape, names, background)
    if path.suffix.lower() == ".png":
        return _read_png(path, shape, names, background)
    if path.suffix.lower() == ".xml":
        from pixgraph.data.scribblesup import read_scribblesup

        return read_scribblesup(path, shape, names, background)
    raise DataError(f"{path}: got an annotation ending in {path.suffix!r}, expected {', '.join(SUFFIXES)}; rename it")


def write_annotation(path: str | Path, annotation: Annotation, names: Mapping[int, str]) -> None:
    """Write an annotation: marks as ``.json``, the labels of pixels as ``.png``; whole or not at all.

    Raises:
        DataError: The format cannot hold this annotation, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == ".png":
        if annotation.label is None:
            raise DataError(f"{path}: got an annotation without labels of pixels, expected marks; write it as .json")
        write_palette_mask(path, annotation.label)
        return
    marks = (annotation.points, annotation.scribbles, annotation.boxes)
    if annotation.label is not None and not any(marks) and (annotation.label < UNLABELLED).any():
        raise DataError(f"{path}: got a mask without marks, which JSON does not hold; write it as .png")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(_content(annotation, names)) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot write the annotation ({error.strerror}); check folder and disk") from error


def class_number(given: Any, names: Mapping[int, str], where: str) -> int:
    """The class that a name or a number means; names match exactly, or else without regard to case.

    Raises:
        DataError: No class is called so, or several.
    """
    number = isinstance(given, int) and not isinstance(given, bool)
    if number and given in names:
        return int(given)
    if isinstance(given, str):
        alike = {name: n for n, name in reversed(list(names.items())) if plain_name(name) == plain_name(given)}
        if given in alike or len(alike) == 1:
            return alike.get(given, next(iter(alike.values())))
        if alike:
            raise DataError(
                f"{where}: class {given!r} may be {' or '.join(sorted(alike))}; write the name as it is there"
            )
    known = [f"{n} ({name})" if number else name for n, name in list(names.items())[:8]]
    listed = ", ".join(known) + (", ..." if len(names) > 8 else "")
    near = [] if number else difflib.get_close_matches(str(given), list(names.values()), n=1)
    guess = f"; did you mean {near[0]!r}?" if near else "; correct it"
    raise DataError(f"{where}: unknown class {given!r}, expected one of {listed}{guess}")


def _read_json(path: Path, shape: tuple[int, int], names: Mapping[int, str], background: int | None) -> Annotation:
    where = str(path)
    content: Any = read_json(path, "the marks", "expected a JSON file, write it again")
    if not isinstance(content, dict) or not content or not set(content) <= set(_ENTRIES):
        got = f"the entries {', '.join(content) or 'none'}" if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path}: got {got}, expected an object with some of {', '.join(_ENTRIES)}; correct it")
    try:
        size = _numbers(content.get("size", [shape[1], shape[0]]), 2, "a size")
        points = [
            Point(*_pixel((p["x"], p["y"])), class_number(p["class"], names, where))
            for p in _marks(content, "points", "x", "y")
        ]
        scribbles = [
            Scribble(
                tuple(_pixel(corner) for corner in s["points"]),
                _whole(s.get("width", 1)),
                class_number(s["class"], names, where),
            )
            for s in _marks(content, "scribbles", "points", "width")
        ]
        boxes = [
            Box(*_numbers(b["box"], 4, "a box"), class_number(b["class"], names, where))  # type: ignore[call-arg]
            for b in _marks(content, "boxes", "box")
        ]
        tags = {class_number(tag, names, where) for tag in _list(content, "tags")}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise DataError(
            f'{path}: cannot understand a mark ({error!r}), expected {{"x": 1, "y": 2, "class": "cat"}} in points, '
            '{"points": [[1, 2], ...], "width": 3, "class": ...} in scribbles, {"box": [x1, y1, x2, y2], "class": ...} '
            "in boxes, names in tags; correct it"
        ) from error
    if size != [shape[1], shape[0]]:
        raise DataError(
            f"{path}: its marks are for a picture of {size[0]} x {size[1]} pixels, got one of {shape[1]} x {shape[0]}; "
            "mark this picture anew"
        )
    return from_marks(shape, points, scribbles, boxes, tags, background, where, names=names)


def _read_png(path: Path, shape: tuple[int, int], names: Mapping[int, str], background: int | None) -> Annotation:
    label = read_mask(path)
    if label.shape != tuple(shape):
        raise DataError(
            f"{path}: got marks of {label.shape[1]} x {label.shape[0]} pixels, expected {shape[1]} x {shape[0]} like "
            "the picture; export them at its size"
        )
    found = {int(c) for c in np.unique(label)} - {UNLABELLED, IGNORE}
    if not found:
        raise DataError(f"{path}: marks no pixel (all are {UNLABELLED} or {IGNORE}), expected some; mark the picture")
    for c in sorted(found):
        class_number(c, names, str(path))
    return Annotation(label, tags=frozenset(found - {background}))


def _content(annotation: Annotation, names: Mapping[int, str]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if annotation.points:
        content["points"] = [{"x": p.x, "y": p.y, "class": names[p.class_id]} for p in annotation.points]
    if annotation.scribbles:
        content["scribbles"] = [
            {"points": [list(corner) for corner in s.points], "width": s.width, "class": names[s.class_id]}
            for s in annotation.scribbles
        ]
    if annotation.boxes:
        content["boxes"] = [{"box": [b.x1, b.y1, b.x2, b.y2], "class": names[b.class_id]} for b in annotation.boxes]
    content["tags"] = [names[c] for c in sorted(annotation.tags)]
    if annotation.label is not None:
        content["size"] = [annotation.label.shape[1], annotation.label.shape[0]]
    return content


def _list(content: Mapping[str, Any], entry: str) -> list[Any]:
    found = content.get(entry, [])
    if not isinstance(found, list):
        raise TypeError(f"{entry} is no list")
    return found


def _marks(content: Mapping[str, Any], entry: str, *keys: str) -> list[dict[str, Any]]:
    """The marks of an entry; each has no keys but these, and its class."""
    for mark in _list(content, entry):
        unknown = sorted(set(mark) - {"class", *keys})
        if unknown:
            raise ValueError(f"unknown key {unknown[0]} in {entry}")
    return _list(content, entry)


def _numbers(values: Any, count: int, what: str) -> list[int]:
    if len(values) != count:
        raise ValueError(f"{what} of {len(values)} numbers")
    return [_whole(value) for value in values]


def _pixel(corner: Any) -> tuple[int, int]:
    x, y = corner
    return _whole(x), _whole(y)


def _whole(value: Any) -> int:
    """A coordinate as a whole number: the pixel in which it lies."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    return math.floor(value)
