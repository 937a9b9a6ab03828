"""Weak annotations made from full masks: points, scribbles, boxes and tags, as a person might give them.

What an annotation does not mark is 254, unlabelled, and so are pixels that the mask ignores: where they lie often gives
outlines away.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from pixgraph.data.base import UNLABELLED
from pixgraph.data.centre_lines import centre_lines, scribble_along
from pixgraph.data.keyed_random import keyed_generator
from pixgraph.data.mark_types import Annotation, Box, Point, Scribble
from pixgraph.data.marks import box_label, from_marks, thicken
from pixgraph.data.mask_parts import MaskParts
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

_BORDER = 0.04  # distance from the border that points keep where there is room, in short sides of the picture
_CANDIDATES = 10  # a point is the candidate farthest from the points before it


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
        ConfigError: The kind is unknown, a number is below 1, or scribbles are wider than the picture.
    """
    if kind not in KINDS:
        raise ConfigError(f"annotation: got {kind!r}, expected one of {', '.join(KINDS)}; correct it")
    if num_points < 1 or width < 1:
        raise ConfigError(f"annotation: got {num_points} points and width {width}, expected at least 1; correct it")
    if kind == "scribbles" and width > min(mask.shape):
        raise ConfigError(
            f"annotation: got width {width}, expected at most {min(mask.shape)}, the shorter side of "
            f"{key or 'the picture'}; correct it"
        )
    present = np.unique(mask)
    tags = frozenset(int(c) for c in present if c < UNLABELLED) - {background}
    if kind in ("masks", "tags"):
        return Annotation(mask if kind == "masks" else None, tags=tags)
    shape = (mask.shape[0], mask.shape[1])
    parts = MaskParts(mask)
    if kind == "boxes":
        boxes = _boxes(parts, background, one_box)
        return Annotation(box_label(boxes, shape, background), boxes, tags)
    draws = {int(c): keyed_generator(seed, key, f"{kind} {c}") for c in present if c < UNLABELLED}
    points = _points(parts, num_points, draws) if kind == "points" else ()
    scribbles = _scribbles(parts, width, draws) if kind == "scribbles" else ()
    label = from_marks(shape, points, scribbles, background=background).label
    return Annotation(np.full(shape, UNLABELLED, np.uint8) if label is None else label, (), tags, points, scribbles)


def _points(parts: MaskParts, count: int, draws: dict[int, np.random.Generator]) -> tuple[Point, ...]:
    height, width = parts.numbers.shape
    needed = np.full(len(parts.classes), np.inf)
    needed[parts.large] = np.minimum(parts.deepest[parts.large] / 2, _BORDER * min(height, width))
    eligible = np.flatnonzero(parts.depth >= needed[parts.numbers])
    classes = parts.classes[parts.numbers.ravel()[eligible]]
    points: list[Point] = []
    for c, rng in draws.items():
        pool = eligible[classes == c]
        if len(pool) < count:
            pool = np.flatnonzero((parts.classes[parts.numbers] == c) & (parts.numbers > 0))
        pool = rng.permutation(pool)[: _CANDIDATES * count]
        chosen: list[np.ndarray] = []
        for candidates in np.array_split(np.stack([pool % width, pool // width], axis=1), min(count, len(pool))):
            gaps = [np.square(candidates - other).sum(1) for other in chosen]
            chosen.append(candidates[np.min(gaps, axis=0).argmax() if gaps else 0])
        points += [Point(int(x), int(y), c) for x, y in chosen]
    return tuple(points)


def _scribbles(parts: MaskParts, width: int, draws: dict[int, np.random.Generator]) -> tuple[Scribble, ...]:
    paths = centre_lines(parts) if draws else {}
    return tuple(
        scribble_along(paths[int(part)], parts, int(part), width, rng)
        for c, rng in draws.items()
        for part in parts.of_class(c)
    )


def _boxes(parts: MaskParts, background: int | None, one_box: bool) -> tuple[Box, ...]:
    found: dict[int, list[Box]] = {}
    for part in parts.large:
        c = int(parts.classes[part])
        rows, cols = parts.windows[part - 1]
        if c != background:
            found.setdefault(c, []).append(Box(cols.start, rows.start, cols.stop, rows.stop, c))
    if one_box:
        found = {c: [_around(boxes)] for c, boxes in found.items()}
    return tuple(box for c in sorted(found) for box in found[c])


def _around(boxes: list[Box]) -> Box:
    """The smallest box around some boxes of a class."""
    x1, y1 = min(b.x1 for b in boxes), min(b.y1 for b in boxes)
    x2, y2 = max(b.x2 for b in boxes), max(b.y2 for b in boxes)
    return Box(x1, y1, x2, y2, boxes[0].class_id)
