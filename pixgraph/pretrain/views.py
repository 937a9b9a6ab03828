"""Two random crops of a picture, and batches of them, as pure functions of a seed and a step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional

from pixgraph.pretrain.config import ViewConfig, check_views
from pixgraph.pretrain.photometry import Photometry, change_colours
from pixgraph.pretrain.pictures import Pictures

_TRIES = 10  # draws of a crop before a central one is taken, as torchvision does


class View(NamedTuple):
    """A crop of a picture.

    Attributes:
        pixels: (3, S, S) float32 in 0..1.
        rect: (4,) float32: x1, y1, x2, y2 in units of the picture, x1 > x2 where it is mirrored.
    """

    pixels: torch.Tensor
    rect: torch.Tensor


@dataclass(frozen=True)
class ViewBatch:
    """Two views of each of B pictures.

    Attributes:
        first: (B, 3, S, S) float32 in 0..1.
        second: (B, 3, S, S) float32 in 0..1.
        rect1: (B, 4) float32 rectangles of the first views.
        rect2: (B, 4) float32 rectangles of the second views.
        index: (B,) int64 number of the picture.
    """

    first: torch.Tensor
    second: torch.Tensor
    rect1: torch.Tensor
    rect2: torch.Tensor
    index: torch.Tensor

    def to(self, device: torch.device | str) -> ViewBatch:
        """The same batch on another device."""
        parts = (getattr(self, field.name) for field in fields(self))
        return ViewBatch(*(part.to(device, non_blocking=True) for part in parts))


class TwoViews:
    """Draws the two views of a picture: crops of random area and aspect, mirrored, changed in colour.

    Args:
        config: Size, ranges and probabilities; see `ViewConfig`.

    Raises:
        ConfigError: A list of the configuration has not two numbers, or its range is upside down.
    """

    def __init__(self, config: ViewConfig) -> None:
        check_views(config)
        self.config = config

    def __call__(self, picture: torch.Tensor, seed: int) -> tuple[View, View]:
        """Two views, the same for the same picture and seed whatever was drawn before.

        Args:
            picture: (3, H, W) uint8.
            seed: At least 0.

        Returns:
            The first and the second view.
        """
        rng = np.random.default_rng(seed)
        return self._view(picture, 0, rng), self._view(picture, 1, rng)

    def _view(self, picture: torch.Tensor, which: int, rng: np.random.Generator) -> View:
        config = self.config
        box = crop_box(picture.shape[-2], picture.shape[-1], config.area, config.aspect, rng)
        mirrored = bool(rng.random() < config.flip)
        top, left, height, width = box
        # Resized as integers: a third of the time of floats, and colours are then changed on few pixels.
        cut = picture[:, top : top + height, left : left + width]
        pixels = functional.resize(cut, [config.size, config.size], antialias=True)
        pixels = (pixels.flip(-1) if mirrored else pixels).contiguous().float().div_(255)
        colours = Photometry(config.jitter, config.grayscale, config.blur[which], config.solarize[which])
        return View(change_colours(pixels, colours, rng), view_rect(picture.shape[-2:], box, mirrored))


def crop_box(
    height: int, width: int, area: Sequence[float], aspect: Sequence[float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A random crop: its share of the area is uniform, its width / height log-uniform.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        area: Smallest and largest share.
        aspect: Smallest and largest width / height.
        rng: Where all choices come from.

    Returns:
        Top, left, height and width. After ten draws that do not fit: the largest central crop of the nearest legal
        aspect.
    """
    for _ in range(_TRIES):
        wanted = height * width * rng.uniform(area[0], area[1])
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        h, w = max(1, round(math.sqrt(wanted / ratio))), max(1, round(math.sqrt(wanted * ratio)))
        if h <= height and w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    ratio = min(max(width / height, aspect[0]), aspect[1])
    h, w = min(height, max(1, round(width / ratio))), min(width, max(1, round(height * ratio)))
    return (height - h) // 2, (width - w) // 2, h, w


def view_rect(shape: Sequence[int], box: tuple[int, int, int, int], mirrored: bool) -> torch.Tensor:
    """The rectangle of a crop in units of the picture, as PixPro's own code has it.

    Args:
        shape: Height and width of the picture, (H, W).
        box: Top, left, height and width of the crop.
        mirrored: Swaps the two x.

    Returns:
        (4,) float32: first and last column over W - 1, first and last row over H - 1, in the order x1, y1, x2, y2.
    """
    top, left, height, width = box
    rows, columns = max(1, shape[0] - 1), max(1, shape[1] - 1)
    x1, x2 = left / columns, (left + width - 1) / columns
    y1, y2 = top / rows, (top + height - 1) / rows
    return torch.tensor([x2, y1, x1, y2] if mirrored else [x1, y1, x2, y2], dtype=torch.float32)


def collate(items: Iterable[tuple[View, View, int]]) -> ViewBatch:
    """A batch of pictures' first view, second view and number."""
    first, second, index = zip(*items, strict=True)
    return ViewBatch(
        torch.stack([view.pixels for view in first]),
        torch.stack([view.pixels for view in second]),
        torch.stack([view.rect for view in first]),
        torch.stack([view.rect for view in second]),
        torch.tensor(index, dtype=torch.int64),
    )


class ViewDataset(Dataset[tuple[View, View, int]]):
    """The views of a whole training: draw n is a pure function of the seed and n, whoever computes it.

    Every picture comes once an epoch, in an order of the epoch's own. Step s of batches of B holds the draws
    s B .. s B + B - 1; epochs follow each other without a gap, also inside a batch.

    Args:
        pictures: Gives picture i as (3, H, W) uint8.
        config: The views' settings.
        seed: Seed of orders, crops and colours.
    """

    def __init__(self, pictures: Pictures | Sequence[torch.Tensor], config: ViewConfig, seed: int) -> None:
        self.pictures, self.views, self.seed = pictures, TwoViews(config), seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, draw: int) -> tuple[View, View, int]:
        """First view, second view and number of the picture of draw `draw`; draws go on beyond an epoch."""
        epoch, place = divmod(draw, len(self))
        index = int(epoch_order(len(self), self.seed, epoch)[place])
        own = int(np.random.SeedSequence([self.seed, 1, draw]).generate_state(1, np.uint64)[0])
        return *self.views(self.pictures[index], own), index

    def batch(self, step: int, batch_size: int, positions: Sequence[int]) -> ViewBatch:
        """Some of the pictures of a step.

        Args:
            step: Counts from 0.
            batch_size: Pictures of the whole step, over all processes and parts.
            positions: Which of them, in 0..batch_size - 1.
        """
        return collate(self[step * batch_size + position] for position in positions)


@lru_cache(maxsize=4)
def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `count` pictures in an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(count)
