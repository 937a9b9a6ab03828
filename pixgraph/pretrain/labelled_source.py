"""Batches of views of labelled and unlabelled pictures, as pure functions of a seed and a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pixgraph.data.base import UNLABELLED
from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import DataError
from pixgraph.pretrain.drawn import DrawnPictures, shrunk
from pixgraph.pretrain.labelled_views import LabelledViewConfig, augmented_view, weak_view
from pixgraph.pretrain.pictures import CACHE_BYTES

Annotate = Callable[[np.ndarray, str], np.ndarray]
"""From the full label (H, W) uint8 and the key of a picture to what is annotated of it, (H, W) uint8, rest 254."""


@dataclass(frozen=True)
class LabelledBatch:
    """Views of B pictures with labels.

    Attributes:
        images: (B, 3, S, S) float32 in 0..1.
        labels: (B, S, S) int64: class, 254 unlabelled, 255 ignored or beyond the picture.
        index: (B,) int64 number of the picture in its split.
    """

    images: torch.Tensor
    labels: torch.Tensor
    index: torch.Tensor

    def to(self, device: torch.device | str) -> LabelledBatch:
        """The same batch on another device."""
        return LabelledBatch(*(part.to(device, non_blocking=True) for part in (self.images, self.labels, self.index)))


@dataclass(frozen=True)
class RecoBatch:
    """What a step of semi-supervised training sees.

    Attributes:
        labelled: Augmented views with labels.
        unlabelled: Weak views; labels are 254, or the few annotated pixels.
    """

    labelled: LabelledBatch
    unlabelled: LabelledBatch

    def to(self, device: torch.device | str) -> RecoBatch:
        """The same batch on another device."""
        return RecoBatch(self.labelled.to(device), self.unlabelled.to(device))


class LabelledSource(DrawnPictures[tuple[torch.Tensor, torch.Tensor]]):
    """Views of pictures and their labels.

    `read` gives a picture (3, H, W) uint8 and what is known of its label (H, W) uint8.

    Args:
        split: The pictures.
        keys: Which of them; none: all.
        config: The views' settings.
        seed: See `DrawnPictures`.
        augment: Views are mirrored and change colour; otherwise they are weak ones.
        hidden: Labels are not read; all pixels are unlabelled.
        annotate: What of a full label is known. It is applied at the picture's own size, and must be a pure function.
        stream: See `DrawnPictures`.
        cache_bytes: See `DrawnPictures`.

    Raises:
        DataError: There are no pictures, or the split does not have one of the keys.
    """

    def __init__(
        self,
        split: SemanticSplit,
        keys: Sequence[str] | None,
        config: LabelledViewConfig,
        seed: int,
        *,
        augment: bool = True,
        hidden: bool = False,
        annotate: Annotate | None = None,
        stream: int = 0,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        place = {key: index for index, key in enumerate(split.keys)}
        unknown = [key for key in keys or () if key not in place]
        if unknown:
            raise DataError(
                f"labels: got picture {unknown[0]!r}, expected one of the {len(split)} of {split!r}; choose labels of "
                "this split"
            )
        indices = [place[key] for key in (split.keys if keys is None else keys)]
        if not indices:
            raise DataError(f"labels: got no pictures of {split!r}, expected at least one; choose more")
        super().__init__(split, indices, config, seed, stream, cache_bytes)
        self.augment, self.hidden, self.annotate = augment, hidden, annotate

    def __repr__(self) -> str:
        return f"LabelledSource({len(self)} of {self.split!r}, augment={self.augment}, hidden={self.hidden})"

    def batch(self, step: int, batch_size: int, positions: Sequence[int]) -> LabelledBatch:
        """Some of the views of a step; see `DrawnPictures.drawn`."""
        return LabelledBatch(*self.drawn(step, batch_size, positions))

    def _view(
        self, picture: tuple[torch.Tensor, torch.Tensor], rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        view = augmented_view if self.augment else weak_view
        return view(*picture, self.config, rng)

    def _made(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rgb = self.split.read_image(index)
        if self.hidden or not self.split.has_label(index):
            known = np.full(rgb.shape[:2], UNLABELLED, np.uint8)
        else:
            known = self.split.read_label(index)
            if self.annotate is not None:
                known = self.annotate(known, self.split.keys[index])
        return shrunk(rgb, known, self.config.short_side)


class RecoSource:
    """As many unlabelled as labelled pictures a step.

    Args:
        labelled: Gives augmented views with labels.
        unlabelled: Gives weak views; of another stream than `labelled`.
    """

    def __init__(self, labelled: LabelledSource, unlabelled: LabelledSource) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def batch(self, step: int, batch_size: int, positions: Sequence[int]) -> RecoBatch:
        """The views of a step, both kinds; see `LabelledSource.batch`."""
        return RecoBatch(*(source.batch(step, batch_size, positions) for source in (self.labelled, self.unlabelled)))
