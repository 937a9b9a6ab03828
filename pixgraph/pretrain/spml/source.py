"""Batches of crops with weak labels, low-level regions and tags, as pure functions of a seed and a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torchvision.transforms.v2 import functional

from pixgraph.pretrain.kept import Kept
from pixgraph.pretrain.labelled_views import LabelledViewConfig
from pixgraph.pretrain.photometry import change_colours
from pixgraph.pretrain.pictures import CACHE_BYTES
from pixgraph.pretrain.placement import draw_placement, place_label, place_picture, place_values, shrink_label
from pixgraph.pretrain.spml.method import WeakBatch
from pixgraph.pretrain.spml.regions import RegionKind, low_level_regions
from pixgraph.pretrain.spml.weak_labels import WeakLabels
from pixgraph.pretrain.views import epoch_order


class WeakPicture(NamedTuple):
    """A picture with all that is known of it.

    Attributes:
        pixels: (3, H, W) uint8.
        label: (H, W) uint8: class, 254 or 255.
        region: (H, W) int16 low-level regions.
        tags: (C,) bool.
    """

    pixels: torch.Tensor
    label: torch.Tensor
    region: torch.Tensor
    tags: torch.Tensor


class WeakSource:
    """Views of pictures, without end: every picture once an epoch, in an order of the epoch's own.

    Pictures, labels and regions are made once and stay in memory while they fit.

    Args:
        labels: Pictures and what is known of them.
        config: The views' settings.
        regions: Kind of low-level regions.
        num_regions: About how many of them a picture has.
        seed: Seed of orders, crops and colours.
        cache_bytes: Memory for decoded pictures, in each process that decodes.
    """

    def __init__(
        self,
        labels: WeakLabels,
        config: LabelledViewConfig,
        regions: RegionKind,
        num_regions: int,
        seed: int,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.labels, self.config, self.seed = labels, config, seed
        self.regions, self.num_regions = regions, num_regions
        self._kept = Kept[WeakPicture](cache_bytes)

    def __len__(self) -> int:
        return len(self.labels.indices)

    def __repr__(self) -> str:
        return f"WeakSource({self.labels!r}, regions={self.regions!r})"

    def read(self, index: int) -> WeakPicture:
        """Picture `index` of the split, shrunk to `config.short_side`.

        Raises:
            DataError: A file is missing or broken.
        """
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        found = self._made(index)
        return self._kept.put(index, found, sum(part.nbytes for part in found))

    def batch(self, step: int, batch_size: int, positions: Sequence[int]) -> WeakBatch:
        """Some of the views of a step.

        Args:
            step: Counts from 0.
            batch_size: Pictures of the whole step, over all processes and parts.
            positions: Which of them, in 0..batch_size - 1.

        Raises:
            DataError: A file is missing or broken.
        """
        found = [self._draw(step * batch_size + position) for position in positions]
        return WeakBatch(*(torch.stack(parts) for parts in zip(*found, strict=True)))

    def _draw(self, draw: int) -> tuple[torch.Tensor, ...]:
        """View, label, regions, tags and number of the picture of a draw; draws go on beyond an epoch."""
        epoch, place = divmod(draw, len(self))
        index = self.labels.indices[int(epoch_order(len(self), self.seed, epoch)[place])]
        rng = np.random.default_rng([self.seed, draw])
        picture, config = self.read(index), self.config
        placement = draw_placement(picture.label.shape, config.size, config.scale, config.flip, rng)
        pixels = change_colours(place_picture(picture.pixels, placement).float().div_(255), config.photometry, rng)
        label = place_label(picture.label, placement).long()
        region = place_values(picture.region, placement, 0).long()
        return pixels, label, region, picture.tags, torch.tensor(index)

    def _made(self, index: int) -> WeakPicture:
        pixels = torch.from_numpy(self.labels.split.read_image(index)).permute(2, 0, 1)
        known, tags = self.labels(index)
        label, short = torch.from_numpy(known), self.config.short_side
        if short and min(pixels.shape[-2:]) > short:
            pixels = functional.resize(pixels, [short], antialias=True)
            label = shrink_label(label, *pixels.shape[-2:])
        pixels = pixels.contiguous()
        regions = low_level_regions(pixels.permute(1, 2, 0).numpy(), self.regions, self.num_regions)
        return WeakPicture(pixels, label, torch.from_numpy(regions.astype(np.int16)), torch.from_numpy(tags))
