"""Views of the pictures of a split as pure functions of a seed and a number, whatever is known of the pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from torchvision.transforms.v2 import functional

from pixgraph.data.semantic import SemanticSplit
from pixgraph.pretrain.kept import Kept
from pixgraph.pretrain.labelled_views import LabelledViewConfig
from pixgraph.pretrain.placement import shrink_label
from pixgraph.pretrain.views import epoch_order

P = TypeVar("P", bound=tuple[torch.Tensor, ...])


class DrawnPictures(ABC, Generic[P]):
    """Views of some pictures of a split, without end: every picture once an epoch, in an order of the epoch's own.

    What is read of a picture is made once and stays in memory while it fits.

    Args:
        split: The pictures.
        indices: Which of them.
        config: The views' settings.
        seed: Seed of orders, crops and colours.
        stream: Sources with the same seed and different streams draw independently.
        cache_bytes: Memory for decoded pictures, in each process that decodes.
    """

    def __init__(
        self,
        split: SemanticSplit,
        indices: Sequence[int],
        config: LabelledViewConfig,
        seed: int,
        stream: int,
        cache_bytes: int,
    ) -> None:
        self.split, self.indices, self.config = split, list(indices), config
        self.seed, self.stream = seed, stream
        self._kept = Kept[P](cache_bytes)

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> P:
        """A picture and what is known of it, shrunk to `config.short_side`.

        Args:
            index: Number of the picture in the split.

        Raises:
            DataError: A file is missing or broken.
        """
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        found = self._made(index)
        return self._kept.put(index, found, sum(part.nbytes for part in found))

    def drawn(self, step: int, batch_size: int, positions: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """Some of the views of a step, stacked, and the numbers of their pictures in the split, int64, behind them.

        Args:
            step: Counts from 0.
            batch_size: Pictures of the whole step, over all processes and parts.
            positions: Which of them, in 0..batch_size - 1.

        Raises:
            DataError: A file is missing or broken.
        """
        found = [self._draw(step * batch_size + position) for position in positions]
        return tuple(torch.stack(parts) for parts in zip(*found, strict=True))

    @abstractmethod
    def _made(self, index: int) -> P:
        """What `read` gives, from the files."""

    @abstractmethod
    def _view(self, picture: P, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """A view of what `read` gave."""

    def _draw(self, draw: int) -> tuple[torch.Tensor, ...]:
        """The view of a draw and the number of its picture; draws go on beyond an epoch."""
        epoch, place = divmod(draw, len(self))
        index = self.indices[int(epoch_order(len(self), self.seed + 2**32 * self.stream, epoch)[place])]
        rng = np.random.default_rng([self.seed, self.stream, draw])
        return *self._view(self.read(index), rng), torch.tensor(index)


def shrunk(rgb: np.ndarray, known: np.ndarray, short_side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Picture and label with a short side of at most `short_side`, of which marks are not lost.

    Args:
        rgb: (H, W, 3) uint8.
        known: (H, W) uint8: class, 254 or 255.
        short_side: Pixels; 0: as they are.

    Returns:
        (3, h, w) uint8 and (h, w) uint8.
    """
    pixels, label = torch.from_numpy(rgb).permute(2, 0, 1), torch.from_numpy(known)
    if short_side and min(label.shape) > short_side:
        pixels = functional.resize(pixels, [short_side], antialias=True)
        label = shrink_label(label, *pixels.shape[-2:])
    return pixels.contiguous(), label
