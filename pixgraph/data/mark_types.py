"""Marks that people make on a picture instead of a full mask: points, scribbles, boxes, tags.

Coordinates are pixels, x to the right and y down, (0, 0) the first one. A box holds the pixels x1 <= x < x2,
y1 <= y < y2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pixgraph.data.base import IGNORE, UNLABELLED


@dataclass(frozen=True)
class Point:
    """One pixel of a class."""

    x: int
    y: int
    class_id: int


@dataclass(frozen=True)
class Scribble:
    """A line of a class through some pixels, drawn with a round pen.

    Attributes:
        points: (x, y) of its corners, at least one.
        width: The pen's diameter in pixels.
        class_id: The class.
    """

    points: tuple[tuple[int, int], ...]
    width: int
    class_id: int


@dataclass(frozen=True)
class Box:
    """A rectangle around something of a class; x2 and y2 are the first pixels beyond it."""

    x1: int
    y1: int
    x2: int
    y2: int
    class_id: int

    @property
    def area(self) -> int:
        """Number of its pixels."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)


@dataclass(frozen=True)
class Annotation:
    """What is known about the classes of one picture.

    Attributes:
        label: uint8 (H, W): class numbers, 254 where nobody said anything, 255 to ignore; None where nothing is known
            about single pixels (tags alone).
        boxes: Its boxes.
        tags: Classes that the picture shows, background left out.
        points: Its points.
        scribbles: Its scribbles.
    """

    label: np.ndarray | None
    boxes: tuple[Box, ...] = ()
    tags: frozenset[int] = frozenset()
    points: tuple[Point, ...] = ()
    scribbles: tuple[Scribble, ...] = ()

    def renumbered(self, table: np.ndarray) -> Annotation:
        """The same with other class numbers.

        Args:
            table: New number of each number, uint8 (256,); tags of 254 and 255 are dropped.
        """
        return Annotation(
            None if self.label is None else table[self.label],
            tuple(replace(b, class_id=int(table[b.class_id])) for b in self.boxes),
            frozenset(int(table[c]) for c in self.tags) - {UNLABELLED, IGNORE},
            tuple(replace(p, class_id=int(table[p.class_id])) for p in self.points),
            tuple(replace(s, class_id=int(table[s.class_id])) for s in self.scribbles),
        )
