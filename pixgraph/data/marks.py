"""What marks say about the pixels of a picture: points and scribbles about their own, boxes about all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from pixgraph.data.base import UNLABELLED
from pixgraph.data.mark_types import Annotation, Box, Point, Scribble
from pixgraph.errors import DataError

__all__ = ["Annotation", "Box", "Point", "Scribble", "box_label", "from_marks", "scribble_pixels", "thicken"]

_WIDE = 24  # from here on the distance to the line takes less memory than every pixel of the pen at each of its pixels


def from_marks(
    shape: tuple[int, int],
    points: Sequence[Point] = (),
    scribbles: Sequence[Scribble] = (),
    boxes: Sequence[Box] = (),
    tags: Iterable[int] = (),
    background: int | None = 0,
    where: str = "annotation",
    crossing: bool = False,
    names: Mapping[int, str] | None = None,
) -> Annotation:
    """The annotation that some marks make.

    Points and scribbles say the class of their own pixels, and win over boxes; `box_label` says what boxes mean.

    Args:
        shape: Height and width of the picture.
        points: Single pixels.
        scribbles: Lines.
        boxes: Rectangles.
        tags: Classes that the picture shows; those of the marks are added.
        background: Number of the class that lies around objects; None where there is none.
        where: What the messages begin with, such as the file's name.
        crossing: Pixels under marks of two classes stay unlabelled; otherwise they are an error.
        names: Number to name, for the messages.

    Raises:
        DataError: A mark lies outside the picture, a scribble has no points, a box has no area, or marks contradict.
    """
    called = {} if names is None else names
    _refuse_same_box(boxes, where, called)
    label = box_label(boxes, shape, background, where) if boxes else np.full(shape, UNLABELLED, np.uint8)
    lines = _lines(shape, points, scribbles, where, crossing, called)
    marked = {p.class_id for p in points} | {s.class_id for s in scribbles} | {b.class_id for b in boxes}
    shown = frozenset(marked | set(tags)) - ({background} if background is not None else set())
    merged = np.where(lines == UNLABELLED, label, lines) if points or scribbles or boxes else None
    return Annotation(merged, tuple(boxes), shown, tuple(points), tuple(scribbles))


def box_label(
    boxes: Sequence[Box], shape: tuple[int, int], background: int | None = 0, where: str = "annotation"
) -> np.ndarray:
    """The class of every pixel as far as boxes tell.

    Inside a box is its class. Where boxes overlap, the smaller one is in front; pixels that equally large boxes claim
    for different classes stay unlabelled. Outside of all boxes is background, or unlabelled where there is none.

    Args:
        boxes: The boxes.
        shape: Height and width of the picture.
        background: Number of the background class, or None.
        where: What the messages begin with.

    Returns:
        uint8 (H, W).

    Raises:
        DataError: A box has no area or leaves the picture.
    """
    height, width = shape
    label = np.full(shape, UNLABELLED if background is None else background, np.uint8)
    owner = np.zeros(shape, np.int64)  # area of the box in front
    for box in sorted(boxes, key=lambda b: -b.area):
        corners = (box.x1, box.y1, box.x2, box.y2)
        if box.x2 <= box.x1 or box.y2 <= box.y1:
            raise DataError(
                f"{where}: got the box {list(corners)} of no area, expected x1 < x2 and y1 < y2; correct it"
            )
        if box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height:
            raise DataError(
                f"{where}: the box {list(corners)} leaves the picture of {width} x {height} pixels; correct the box"
            )
        window = (slice(box.y1, box.y2), slice(box.x1, box.x2))
        tie = (owner[window] == box.area) & (label[window] != box.class_id)
        label[window] = np.where(tie, UNLABELLED, box.class_id)
        owner[window] = box.area
    return label


def scribble_pixels(
    scribble: Scribble, shape: tuple[int, int], where: str = "annotation"
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels under a scribble, each int64 (n,).

    Raises:
        DataError: It has no points or no width, is wider than the picture, or a corner lies outside of it.
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.draw import line

    if not scribble.points or scribble.width < 1:
        raise DataError(
            f"{where}: empty scribble of class {scribble.class_id} ({len(scribble.points)} points, width "
            f"{scribble.width}), expected at least one point and a width of 1; remove or complete it"
        )
    if scribble.width > max(shape):
        raise DataError(
            f"{where}: got a scribble {scribble.width} pixels wide, expected at most {max(shape)}, the longer side of "
            "the picture; correct its width"
        )
    for x, y in scribble.points:
        _inside(x, y, shape, "scribble's point", where)
    corners = scribble.points if len(scribble.points) > 1 else scribble.points * 2
    runs = [line(a[1], a[0], b[1], b[0]) for a, b in pairwise(corners)]
    rows, cols = (np.concatenate(part) for part in zip(*runs, strict=True))
    reach = (scribble.width - 1) / 2
    if scribble.width > _WIDE:
        free = np.ones(shape, bool)
        free[rows, cols] = False
        rows, cols = np.nonzero(distance_transform_edt(free) <= reach + 0.25)
        return rows, cols
    steps = np.arange(-int(reach + 0.5), int(reach + 0.5) + 1)
    dy, dx = np.meshgrid(steps, steps, indexing="ij")
    pen = dy**2 + dx**2 <= (reach + 0.25) ** 2
    rows = (rows[:, None] + dy[pen]).ravel()
    cols = (cols[:, None] + dx[pen]).ravel()
    kept = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    flat = np.unique(rows[kept] * shape[1] + cols[kept])
    return flat // shape[1], flat % shape[1]


def thicken(label: np.ndarray, radius: float) -> np.ndarray:
    """Unlabelled pixels within `radius` pixels of a labelled one take the label of the nearest: uint8 (H, W).

    SPML prepares points with 6 and scribbles with 3 pixels (Ke et al., ICLR 2021). 255 neither spreads nor yields.
    """
    from scipy.ndimage import distance_transform_edt

    known = label < UNLABELLED
    if not known.any() or radius <= 0:
        return label.copy()
    distance, (rows, cols) = distance_transform_edt(~known, return_indices=True)
    near = (label == UNLABELLED) & (distance <= radius)
    return np.where(near, label[rows, cols], label)


def _refuse_same_box(boxes: Sequence[Box], where: str, names: Mapping[int, str]) -> None:
    classes: dict[tuple[int, int, int, int], int] = {}
    for box in boxes:
        corners = (box.x1, box.y1, box.x2, box.y2)
        if classes.setdefault(corners, box.class_id) != box.class_id:
            both = _both(classes[corners], box.class_id, names)
            raise DataError(f"{where}: contradictory boxes, {list(corners)} is of class {both}; remove one of them")


def _lines(
    shape: tuple[int, int],
    points: Sequence[Point],
    scribbles: Sequence[Scribble],
    where: str,
    crossing: bool,
    names: Mapping[int, str],
) -> np.ndarray:
    """Classes of the pixels under points and scribbles, 254 elsewhere: uint8 (H, W).

    Raises:
        DataError: A mark lies outside, is empty, or has no pixel that another class does not claim.
    """
    for point in points:
        _inside(point.x, point.y, shape, "point", where)
    painted = [(np.array([p.y]), np.array([p.x]), p.class_id) for p in points]
    painted += [(*scribble_pixels(s, shape, where), s.class_id) for s in scribbles]
    label = np.full(shape, UNLABELLED, np.uint8)
    contested = np.zeros(shape, bool)
    for rows, cols, c in painted:
        before = label[rows, cols]
        other = (before != UNLABELLED) & (before != c)
        if other.any() and not crossing:
            raise DataError(
                f"{where}: contradictory marks, pixel ({cols[other][0]}, {rows[other][0]}) is of class "
                f"{_both(int(before[other][0]), c, names)}; remove one of the marks"
            )
        contested[rows[other], cols[other]] = True
        label[rows, cols] = c
    label[contested] = UNLABELLED
    for rows, cols, c in painted:
        if contested[rows, cols].all():
            raise DataError(f"{where}: contradictory marks, other classes cover one of class {c}; remove one of them")
    return label


def _both(first: int, second: int, names: Mapping[int, str]) -> str:
    return f"{names.get(first, first)} and of {names.get(second, second)}"


def _inside(x: int, y: int, shape: tuple[int, int], what: str, where: str) -> None:
    if not (0 <= x < shape[1] and 0 <= y < shape[0]):
        raise DataError(
            f"{where}: the {what} ({x}, {y}) lies outside the picture of {shape[1]} x {shape[0]} pixels; correct it"
        )
