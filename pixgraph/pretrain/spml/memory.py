"""The memory bank: directions of the segments of the last batches, without gradient."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn


class Known(NamedTuple):
    """What the contrasts over several pictures need of S segments.

    Attributes:
        direction: (S, D) unit vectors.
        label: (S,) int64 class, or 254.
        image: (S,) int64 picture: from 0 for those of a batch, below 0 and all different for those of the bank.
        tags: (S, C) bool: the tags of the segment's picture, without the background.
        affinity: (S, C) bool: the tags that the segment has by the affinity of features.
    """

    direction: torch.Tensor
    label: torch.Tensor
    image: torch.Tensor
    tags: torch.Tensor
    affinity: torch.Tensor

    def joined(self, other: Known) -> Known:
        """These segments, then the other ones."""
        return Known(*(torch.cat(pair) for pair in zip(self, other, strict=True)))


class MemoryBank(nn.Module):
    """Segments of the last `batches` batches, part of the method's state so that a run resumes exactly.

    Each process keeps the segments of its own share of the batches.

    Args:
        batches: Batches that are kept; 0: none.
        capacity: Most segments of a batch; of more, as many at even distances are kept.
        channels: D of the directions.
        classes: C of the tags.
    """

    direction: torch.Tensor
    label: torch.Tensor
    image: torch.Tensor
    tags: torch.Tensor
    affinity: torch.Tensor
    count: torch.Tensor

    def __init__(self, batches: int, capacity: int, channels: int, classes: int) -> None:
        super().__init__()
        self.batches, self.capacity = batches, capacity
        self.register_buffer("direction", torch.zeros(batches, capacity, channels))
        self.register_buffer("label", torch.zeros(batches, capacity, dtype=torch.int64))
        self.register_buffer("image", torch.zeros(batches, capacity, dtype=torch.int64))
        self.register_buffer("tags", torch.zeros(batches, capacity, classes, dtype=torch.bool))
        self.register_buffer("affinity", torch.zeros(batches, capacity, classes, dtype=torch.bool))
        self.register_buffer("count", torch.zeros(batches, dtype=torch.int64))

    def __repr__(self) -> str:
        return f"MemoryBank(batches={self.batches}, capacity={self.capacity}, segments={int(self.count.sum())})"

    def segments(self) -> Known:
        """All that is kept, the newest batch first; its pictures have numbers below 0, which none of a batch has."""
        filled = (torch.arange(self.capacity, device=self.count.device) < self.count[:, None]).flatten()
        # A batch of S segments has at most S pictures.
        offset = torch.arange(1, self.batches + 1, device=self.image.device)[:, None] * self.capacity
        parts = (self.direction, self.label, self.image - offset, self.tags, self.affinity)
        return Known(*(part.flatten(0, 1)[filled] for part in parts))

    @torch.no_grad()
    def push(self, known: Known) -> None:
        """Keep a batch's segments and forget those of the oldest batch.

        Args:
            known: Segments whose pictures have numbers in 0 .. capacity - 1.
        """
        if not self.batches:
            return
        total = len(known.label)
        kept = min(total, self.capacity)
        places = torch.arange(kept, device=known.label.device) * total // max(kept, 1)
        for name in Known._fields:
            buffer, values = getattr(self, name), getattr(known, name)
            buffer.copy_(buffer.roll(1, 0))
            buffer[0].zero_()
            buffer[0, :kept] = values[places].to(buffer.dtype)
        self.count.copy_(self.count.roll(1, 0))
        self.count[0] = kept
