"""Supports as people hand them over: pictures with masks, points, scribbles or boxes, any of these for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_fill_holes

from pixgraph.arguments import several, short
from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.images import load_image, resize_mask
from pixgraph.data.marks import Box, Point, Scribble, box_label, from_marks
from pixgraph.errors import DataError
from pixgraph.inputs import as_list, labelled_pair, shrink_mask
from pixgraph.tile_supports import support_windows

SCRIBBLE_WIDTH = 3
"""The pen's diameter in pixels where a scribble names none."""

_FORMS = {
    "points": "(x, y, class)",
    "scribbles": "(corners, class) or (corners, class, width), corners a list of (x, y)",
    "boxes": "(x1, y1, x2, y2, class)",
}


@dataclass(frozen=True)
class Support:
    """A picture with what is known about its pixels.

    Attributes:
        rgb: (H, W, 3) uint8.
        label: (H, W) uint8: 0 background, class ids 1..253, 254 not marked, 255 unknown.
        rough: (H, W) bool: where the label is only likely, as inside a box; `None`: nowhere.
    """

    rgb: np.ndarray
    label: np.ndarray
    rough: np.ndarray | None = None

    def windows(self, tile: int) -> list[Support]:
        """The support as windows of the size of a tile, see `pixgraph.tile_supports`."""
        others = [] if self.rough is None else [self.rough]
        return [Support(*parts) for parts in support_windows(self.rgb, self.label, tile, *others)]

    def ways(self, classes: Sequence[int], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """Label and likely part at another size, with ways in place of class ids.

        Args:
            classes: Class id of each way.
            size: Height and width.

        Returns:
            (height, width) uint8 in 0..N, 254 and 255; and bool, or `None`.
        """
        table = np.zeros(256, np.uint8)
        table[list(classes)] = np.arange(1, len(classes) + 1)
        table[[UNLABELLED, IGNORE]] = UNLABELLED, IGNORE
        ways = table[self.label]
        label = shrink_mask(ways, size)
        if self.rough is None:
            return label, None
        # What is marked inside a likely part is smaller than a pixel there, and must not get lost among its pixels.
        inside = binary_fill_holes(self.rough) & ~self.rough
        marked = shrink_mask(np.where(inside, ways, np.uint8(UNLABELLED)), size)
        likely = (resize_mask(self.rough.astype(np.uint8), size) > 0) & (marked == UNLABELLED)
        return np.where(marked == UNLABELLED, label, marked), likely


def read_supports(
    images: Any, masks: Any = None, points: Any = None, scribbles: Any = None, boxes: Any = None
) -> list[Support]:
    """Decoded supports.

    Args:
        images: One picture or several, as `pixgraph.inputs.as_list` takes them.
        masks: As many masks; `None`, or `None` for some pictures.
        points: For each picture its points (x, y, class), or `None`.
        scribbles: For each picture its scribbles (corners, class) or (corners, class, width), or `None`.
        boxes: For each picture its boxes (x1, y1, x2, y2, class), or `None`; x2 and y2 are the first pixels beyond.

    Raises:
        DataError: A picture, mask or mark is broken, their numbers or sizes differ, a picture has none of them, or
            marks contradict each other or the mask.
    """
    pictures = as_list(images)
    given = [None] * len(pictures) if masks is None else as_list(masks, mask=True)
    single = not isinstance(images, (list, tuple)) and len(pictures) == 1
    if not pictures or len(pictures) != len(given):
        raise DataError(f"fit: got {len(pictures)} pictures and {len(given)} masks, expected one mask a picture")
    marks = [
        _each("points", points, len(pictures), single),
        _each("scribbles", scribbles, len(pictures), single),
        _each("boxes", boxes, len(pictures), single),
    ]
    return [_support(i, *all_of_one) for i, all_of_one in enumerate(zip(pictures, given, *marks, strict=True))]


def marked_support(rgb: np.ndarray, label: np.ndarray, boxes: Sequence[Box] = (), sure: Any = None) -> Support:
    """A support from a label that points, scribbles and boxes made.

    Args:
        rgb: (H, W, 3) uint8.
        label: (H, W) uint8.
        boxes: The boxes among the marks: what they alone say is only likely.
        sure: (H, W) bool: under a point or scribble.
    """
    if not boxes:
        return Support(rgb, label)
    inside = box_label(boxes, label.shape)
    rough = (inside > 0) & (inside < UNLABELLED)
    return Support(rgb, label, rough if sure is None else rough & ~sure)


def joined_with_mask(
    support: Support, mask: np.ndarray, drawn: np.ndarray | None, where: str, names: Mapping[int, str] | None = None
) -> Support:
    """The mask, and where it says nothing (254) the marks.

    Args:
        support: The marks.
        mask: (H, W) uint8.
        drawn: (H, W) uint8: what points and scribbles say, 254 elsewhere; `None`: there are only boxes.
        where: What the message begins with.
        names: Class id to name, for the message.

    Raises:
        DataError: A point or scribble lies on another class of the mask.
    """
    if drawn is not None:
        wrong = np.argwhere((drawn < UNLABELLED) & (mask < UNLABELLED) & (drawn != mask))
        if len(wrong):
            y, x = wrong[0]
            marked, shown = ((names or {}).get(int(label[y, x]), label[y, x]) for label in (drawn, mask))
            raise DataError(
                f"{where}: contradictory marks, pixel ({x}, {y}) is of class {marked} and, in its mask, of {shown}; "
                "correct one of them"
            )
    free = mask == UNLABELLED
    rough = None if support.rough is None else support.rough & free
    return Support(support.rgb, np.where(free, support.label, mask), rough)


def shown_classes(supports: Sequence[Support], where: str = "fit") -> list[int]:
    """Ids of the classes that the supports show, ascending.

    Args:
        supports: The labelled pictures.
        where: What the message begins with, such as their folder.

    Raises:
        DataError: There are none.
    """
    found = sorted({int(v) for s in supports for v in np.unique(s.label)} - {0, UNLABELLED, IGNORE})
    if not found:
        hint = (
            "255 means unknown: pass mask > 0 where it marks the object"
            if any((s.label == IGNORE).any() for s in supports)
            else f"expected class ids in 1..{UNLABELLED - 1} somewhere"
        )
        raise DataError(f"{where}: none of the {len(supports)} labelled pictures shows a class; {hint}")
    return found


def _support(position: int, image: Any, mask: Any, points: Any, scribbles: Any, boxes: Any) -> Support:
    where = f"picture {position}"
    if points is None and scribbles is None and boxes is None:
        if mask is None:
            raise DataError(f"fit: {where} has no mask, points, scribbles or boxes; give it one or pass it unlabelled")
        return Support(*labelled_pair(position, image, mask))
    rgb = load_image(image)
    lines = [_made(_point, "points", p, where) for p in _listed("points", points, where)]
    strokes = [_made(_scribble, "scribbles", s, where) for s in _listed("scribbles", scribbles, where)]
    frames = [_made(_box, "boxes", b, where) for b in _listed("boxes", boxes, where)]
    shape = (rgb.shape[0], rgb.shape[1])
    label = from_marks(shape, lines, strokes, frames, where=where).label
    if label is None:
        raise DataError(f"fit: {where} has an empty list of marks; mark something, or pass it unlabelled")
    drawn = from_marks(shape, lines, strokes, where=where).label
    support = marked_support(rgb, label, frames, None if drawn is None else drawn < UNLABELLED)
    return support if mask is None else joined_with_mask(support, labelled_pair(position, image, mask)[1], drawn, where)


def _each(kind: str, marks: Any, pictures: int, single: bool) -> list[Any]:
    """The marks of each picture; of a picture that was passed alone they may be passed alone, too."""
    if marks is None:
        return [None] * pictures
    found = several(kind, marks, f"a list of {_FORMS[kind]} for each picture")
    if single and not (len(found) == 1 and _is_list(found[0])):
        return [found]
    if len(found) != pictures:
        raise DataError(
            f"fit: got {kind} for {len(found)} pictures, expected a list of {_FORMS[kind]} for each of the {pictures}; "
            "use None for a picture without"
        )
    return found


def _is_list(found: Any) -> bool:
    """Whether it is the list of a picture's marks, or none, rather than a mark, which ends with a number."""
    return found is None or (_is_sequence(found) and (len(found) == 0 or _is_sequence(found[-1])))


def _is_sequence(found: Any) -> bool:
    return isinstance(found, (list, tuple)) or getattr(found, "ndim", 0) > 0


def _listed(kind: str, marks: Any, where: str) -> list[Any]:
    return [] if marks is None else several(f"{where}: {kind}", marks, f"a list of {_FORMS[kind]}")


def _made(make: Callable[[Any], Any], kind: str, mark: Any, where: str) -> Any:
    """The mark.

    Raises:
        DataError: It has another form, or its class is none.
    """
    try:
        made = make(mark)
    except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{where}: {kind}: got {short(mark)}, expected {_FORMS[kind]} of whole numbers; correct it"
        ) from error
    if not 0 <= made.class_id < UNLABELLED:
        raise DataError(
            f"{where}: {kind}: got class {made.class_id}, expected 0 for background or an id in 1..{UNLABELLED - 1}; "
            "correct it"
        )
    return made


def _whole(value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or int(value) != value:
        raise ValueError(value)
    return int(value)


def _point(mark: Any) -> Point:
    return Point(*map(_whole, _exactly(mark, 3)))


def _box(mark: Any) -> Box:
    return Box(*map(_whole, _exactly(mark, 5)))


def _scribble(mark: Any) -> Scribble:
    corners, class_id, width = (*_exactly(mark, 2, 3), SCRIBBLE_WIDTH)[:3]
    at = tuple((_whole(x), _whole(y)) for x, y in corners)
    return Scribble(at, _whole(width), _whole(class_id))


def _exactly(mark: Any, *lengths: int) -> tuple[Any, ...]:
    found = tuple(mark)
    if len(found) not in lengths:
        raise ValueError(len(found))
    return found
