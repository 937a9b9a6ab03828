"""Batches of crops with weak labels, low-level regions and tags, as pure functions of a seed and a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from pixgraph.pretrain.drawn import DrawnPictures, shrunk
from pixgraph.pretrain.labelled_views import LabelledViewConfig
from pixgraph.pretrain.photometry import change_colours
from pixgraph.pretrain.pictures import CACHE_BYTES
from pixgraph.pretrain.placement import draw_placement, place_label, place_picture, place_values
from pixgraph.pretrain.spml.method import WeakBatch
from pixgraph.pretrain.spml.regions import RegionKind, low_level_regions
from pixgraph.pretrain.spml.weak_labels import WeakLabels


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


class WeakSource(DrawnPictures[WeakPicture]):
    """Views of pictures with their weak labels, regions and tags.

    Args:
        labels: Pictures and what is known of them.
        config: The views' settings.
        regions: Kind of low-level regions.
        num_regions: About how many of them a picture has.
        seed: See `DrawnPictures`.
        cache_bytes: See `DrawnPictures`.
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
        super().__init__(labels.split, labels.indices, config, seed, 0, cache_bytes)
        self.labels, self.regions, self.num_regions = labels, regions, num_regions

    def __repr__(self) -> str:
        return f"WeakSource({self.labels!r}, regions={self.regions!r})"

    def batch(self, step: int, batch_size: int, positions: Sequence[int]) -> WeakBatch:
        """Some of the views of a step; see `DrawnPictures.drawn`."""
        return WeakBatch(*self.drawn(step, batch_size, positions))

    def _view(self, picture: WeakPicture, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        config = self.config
        placement = draw_placement(picture.label.shape, config.size, config.scale, config.flip, rng)
        pixels = change_colours(place_picture(picture.pixels, placement).float().div_(255), config.photometry, rng)
        label = place_label(picture.label, placement).long()
        region = place_values(picture.region, placement, 0).long()
        return pixels, label, region, picture.tags

    def _made(self, index: int) -> WeakPicture:
        known, tags = self.labels(index)
        pixels, label = shrunk(self.split.read_image(index), known, self.config.short_side)
        regions = low_level_regions(pixels.permute(1, 2, 0).numpy(), self.regions, self.num_regions)
        return WeakPicture(pixels, label, torch.from_numpy(regions.astype(np.int16)), torch.from_numpy(tags))
