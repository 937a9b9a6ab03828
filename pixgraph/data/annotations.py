"""Weak annotations made from full masks: points, scribbles, boxes and tags, as a person might give them.

What an annotation does not mark is 254, unlabelled, and so are pixels that the mask ignores: where they lie often gives
outlines away.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, maximum
from scipy.ndimage import label as connected

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.centre_lines import scribble_inside
from pixgraph.data.keyed_random import keyed_generator
from pixgraph.data.marks import box_label, from_marks, thicken
from pixgraph.data.mark_types import Annotation, Box, Point, Scribble
from pixgraph.errors import ConfigError

__all__ = [
    "KINDS",
    "Annotation",
    "AnnotationKind",
    "Box",
    "Point",
    "Scribble",
    "box_label",
    "from_marks",
    "make_annotation",
    "thicken",
]

AnnotationKind = Literal["masks", "points", "scribbles", "boxes", "tags"]
"""What is known about a picture, from everything to the names of its classes."""

KINDS: tuple[str, ...] = get_args(AnnotationKind)
"""All kinds of annotation."""

SMALLEST = 0.05
"""Connected parts of a class below this share of its largest one get no mark: most are specks of the mask."""

_BORDER = 0.04  # distance from the border that points keep where there is room, in short sides of the picture
_CANDIDATES = 10  # a point is the candidate farthest from the points before it
_CORNERS_TOO = np.ones((3, 3), bool)


def make_annotation(
    mask: np.ndarray,
    kind: AnnotationKind,
    seed: int = 0,
    key: str = "",
    num_points: int = 5,
    width: int = 3,
    background: int | None = 0,
    one_box: bool = False,
) -> Annotation:
    """The weak annotation of a picture whose full mask is known; the same for the same mask, kind, seed and key.

    - ``points``: `num_points` pixels of each class, background included, spread over it and away from its border: at
      least 4 % of the picture's short side where the part is thick enough, and half its largest depth elsewhere.
    - ``scribbles``: a line along the skeleton of each connected part of each class, background included.
    - ``boxes``: a box around each connected part of each class but the background.
    - ``tags``: the classes that the mask shows, without the background.
    - ``masks``: the mask itself, and the tags.

    Args:
        mask: Class numbers, uint8 (H, W); 254 and 255 are no classes.
        kind: What to make.
        seed: Seed of the draws, >= 0.
        key: The picture's name: pictures draw independently.
        num_points: Points of each class; fewer where it has fewer pixels.
        width: The pen's diameter of scribbles, in pixels; narrower where the part is.
        background: The class that lies around objects; None where every class is one of its own (CamVid).
        one_box: One box around all parts of a class.

    Raises:
        ConfigError: The kind is unknown, or a number is below 1.
    """
    if kind not in KINDS:
        raise ConfigError(f"annotation: got {kind!r}, expected one of {', '.join(KINDS)}; correct it")
    if num_points < 1 or width < 1:
        raise ConfigError(f"annotation: got {num_points} points and width {width}, expected at least 1; correct it")
    shape = (mask.shape[0], mask.shape[1])
    windows = find_objects(mask.astype(np.int32) + 1)
    parts = {c: window for c, window in enumerate(windows) if window is not None and c not in (UNLABELLED, IGNORE)}
    tags = set(parts) - {background}
    if kind == "masks":
        return Annotation(mask, tags=frozenset(tags))
    if kind == "tags":
        return Annotation(None, tags=frozenset(tags))
    points: list[Point] = []
    scribbles: list[Scribble] = []
    boxes: list[Box] = []
    for c, window in parts.items():
        inside, corner = mask[window] == c, (window[0].start, window[1].start)
        rng = keyed_generator(seed, key, f"{kind} {c}")
        if kind == "points":
            points += _points(inside, corner, c, num_points, _BORDER * min(shape), rng)
        elif kind == "scribbles":
            scribbles += _scribbles(inside, corner, c, width, rng)
        elif c != background:
            boxes += _boxes(inside, corner, c, one_box)
    if kind == "boxes":
        return Annotation(box_label(boxes, shape, background), tuple(boxes), frozenset(tags))
    label = from_marks(shape, points, scribbles, background=background).label
    empty = np.full(shape, UNLABELLED, np.uint8)
    return Annotation(empty if label is None else label, (), frozenset(tags), tuple(points), tuple(scribbles))


def _large_parts(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the connected parts, int32 (H, W), and those of the parts that count."""
    numbers, count = connected(inside, _CORNERS_TOO)
    areas = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    return numbers, np.flatnonzero(areas >= SMALLEST * areas.max()) + 1


def _points(
    inside: np.ndarray, corner: tuple[int, int], c: int, count: int, border: float, rng: np.random.Generator
) -> list[Point]:
    numbers, large = _large_parts(inside)
    depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    needed = np.full(numbers.max() + 1, np.inf)
    needed[large] = np.minimum(np.asarray(maximum(depth, numbers, large)) / 2, border)
    pool = np.argwhere(depth >= needed[numbers])
    if len(pool) < count:
        pool = np.argwhere(inside)
    pool = rng.permutation(pool)[: _CANDIDATES * count]
    chosen: list[np.ndarray] = []
    for candidates in np.array_split(pool, min(count, len(pool))):
        gaps = [np.square(candidates - other).sum(1) for other in chosen]
        chosen.append(candidates[np.min(gaps, axis=0).argmax() if gaps else 0])
    return [Point(int(x) + corner[1], int(y) + corner[0], c) for y, x in chosen]


def _scribbles(
    inside: np.ndarray, corner: tuple[int, int], c: int, width: int, rng: np.random.Generator
) -> list[Scribble]:
    numbers, large = _large_parts(inside)
    windows = find_objects(numbers)
    found = []
    for part in large:
        window = windows[part - 1]
        drawn = scribble_inside(numbers[window] == part, c, width, rng)
        left, top = corner[1] + window[1].start, corner[0] + window[0].start
        found.append(Scribble(tuple((x + left, y + top) for x, y in drawn.points), drawn.width, c))
    return found


def _boxes(inside: np.ndarray, corner: tuple[int, int], c: int, one_box: bool) -> list[Box]:
    numbers, large = _large_parts(inside)
    if one_box:
        numbers, large = np.isin(numbers, large).astype(np.int32), np.array([1])
    windows = find_objects(numbers)
    top, left = corner
    return [
        Box(cols.start + left, rows.start + top, cols.stop + left, rows.stop + top, c)
        for rows, cols in (windows[part - 1] for part in large)
    ]
