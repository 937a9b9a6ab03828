"""CutOut, CutMix and ClassMix of a batch: picture, label and confidence of a pixel always come from the same place."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch

from pixgraph.backbones.base import IMAGENET_MEAN
from pixgraph.data.base import IGNORE, UNLABELLED

Mixing = Literal["none", "cutout", "cutmix", "classmix"]


class LabelledMaps(NamedTuple):
    """Pictures with what is believed of their pixels.

    Attributes:
        images: (B, 3, H, W) float in 0..1.
        labels: (B, H, W) int64: class, 254 unlabelled or 255 ignored.
        confidences: (B, H, W) float in 0..1, how sure the label is.
    """

    images: torch.Tensor
    labels: torch.Tensor
    confidences: torch.Tensor


def mix(maps: LabelledMaps, strategy: Mixing, rng: np.random.Generator) -> LabelledMaps:
    """Mix the pictures of a batch, as in ReCo's code.

    - "cutout" (DeVries and Taylor 2017): a box of half the area becomes grey, its label 255, its confidence 0.
    - "cutmix" (Yun et al. 2019): the box shows the next picture of the batch at the same place.
    - "classmix" (Olsson et al. 2021): the picture keeps the pixels of a random half of its classes (rounded down);
      all others show the next picture.

    Labels and confidences move with their pixels: a pasted pixel has the label and the confidence of its donor. The
    donor of the last picture is the first one; a batch of one mixes with itself, which changes nothing.

    Args:
        maps: B pictures; not changed.
        strategy: Which; "none" gives `maps` back.
        rng: Where all choices come from.
    """
    if strategy == "none":
        return maps
    count, height, width = maps.labels.shape
    if strategy == "classmix":
        kept = torch.stack([_half_of_classes(label, rng) for label in maps.labels])
    else:
        kept = torch.ones(count, height, width, dtype=torch.bool)
        for one in kept:
            top, left, rows, columns = cut_box(height, width, rng)
            one[top : top + rows, left : left + columns] = False
        kept = kept.to(maps.labels.device)
    donor = _nothing(maps) if strategy == "cutout" else LabelledMaps(*(part.roll(-1, 0) for part in maps))
    return LabelledMaps(
        torch.where(kept[:, None], maps.images, donor.images),
        torch.where(kept, maps.labels, donor.labels),
        torch.where(kept, maps.confidences, donor.confidences),
    )


def cut_box(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A box of half the area, rounded to whole rows, somewhere inside: its width is uniform from a half to the whole.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        rng: Where the choices come from.

    Returns:
        Top, left, height and width.
    """
    columns = int(rng.integers(min(width // 2 + 1, width), width + 1))
    rows = min(height, max(1, round(height * width / 2 / columns)))
    return int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1)), rows, columns


def _half_of_classes(label: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Pixels (H, W) of a random half of the classes of a label (H, W)."""
    classes = label[label < UNLABELLED].unique()
    chosen = rng.permutation(len(classes))[: len(classes) // 2]
    return torch.isin(label, classes[torch.from_numpy(chosen).to(classes.device)])


def _nothing(maps: LabelledMaps) -> LabelledMaps:
    """Pictures of the mean colour of photographs, which is zero after normalisation, of no class."""
    grey = maps.images.new_tensor(IMAGENET_MEAN)[:, None, None].expand_as(maps.images)
    return LabelledMaps(grey, torch.full_like(maps.labels, IGNORE), torch.zeros_like(maps.confidences))
