"""Marks in place of masks on the supports of an episode: what a person in a hurry would have given."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import cast, get_args, get_type_hints

import numpy as np

from pixgraph.config import EpisodeConfig
from pixgraph.data.annotations import AnnotationKind, make_annotation
from pixgraph.errors import ConfigError

KINDS = ("masks", "points", "scribbles", "boxes")
"""What supports can show; "mix" draws one of them for each."""

CHOICES = get_args(get_type_hints(EpisodeConfig)["support_annotation"])


@dataclass(frozen=True)
class SupportMarks:
    """Draws the marks of a support from its mask.

    Attributes:
        kind: One of `KINDS`, or "mix".
        num_points: Points of each class in the mask, and of the background.
        seed: Seed of the marks; those of a picture depend on it and on the name that `draw` gets.

    Raises:
        ConfigError: The kind is unknown, or there are no points.
    """

    kind: str = "masks"
    num_points: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in CHOICES:
            raise ConfigError(f"support_annotation: got {self.kind!r}, expected one of {', '.join(CHOICES)}")
        if self.num_points < 1:
            raise ConfigError(f"num_points: got {self.num_points}, expected at least 1; raise it or take scribbles")

    def draw(self, mask: np.ndarray, key: str) -> tuple[np.ndarray, np.ndarray | None]:
        """The label of a support that shows only its marks.

        Args:
            mask: (H, W) integers: 0 background, 1..N, 254 and 255 unknown.
            key: Name of the picture and its place, which gives it marks of its own.

        Returns:
            (H, W) uint8 in 0..N, 254 where nothing is marked, 255; and (H, W) bool, where that is only likely, as
            inside a box, or `None`.
        """
        kind, mask = self.kind, mask.astype(np.uint8)
        if kind == "mix":
            rng = np.random.default_rng([self.seed, zlib.crc32(key.encode())])
            kind = KINDS[int(rng.integers(len(KINDS)))]
        if kind == "masks":
            return mask, None
        label = make_annotation(mask, cast(AnnotationKind, kind), self.seed, key, num_points=self.num_points).label
        assert label is not None  # only tags give none
        return label, label > 0 if kind == "boxes" else None
