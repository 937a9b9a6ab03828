"""Superpixels: the segments of a picture, means of feature maps over them, and pictures painted with their values.

What is remembered must serve training, also where evaluation asked for it first: outside of inference mode.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.backbones.memory import ByteLRU
from pixgraph.data.picture import Picture
from pixgraph.graph.cells import check_finite
from pixgraph.models.levels import resample

PAINT = 4
"""Side, in pixels, of the cells through which values go between feature maps and segments."""
COMPACTNESS = 10.0
"""SLIC's weight of the place against the colour."""
ROUNDS = 5
"""SLIC's iterations: with ten, outlines of objects are met no better."""
SIGMA = 1.0
"""Deviation in pixels of the Gaussian that smooths colours first: single noisy pixels would else merge everything."""
DENSE = 256
"""Maps of at most so many cells are averaged by one matrix product."""


class Shares(NamedTuple):
    """Which segment has how many pixels in which cell: Z entries.

    Attributes:
        cell: (Z,) int64.
        segment: (Z,) int64.
        pixels: (Z,) float32.
        start: (n,) int64 where each thing's entries begin, things ascending.
    """

    cell: torch.Tensor
    segment: torch.Tensor
    pixels: torch.Tensor
    start: torch.Tensor


@dataclass(frozen=True)
class SegmentMap:
    """The segments of a picture.

    Attributes:
        where: (H, W) int64: segment of each pixel, 0..count - 1, every one of which occurs; `count`: in none.
        count: Number of segments, n.
    """

    where: torch.Tensor
    count: int
    _weights: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return self.count

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the cells of `PAINT` x `PAINT` pixels."""
        height, width = self.where.shape
        return -(-height // PAINT), -(-width // PAINT)

    @cached_property
    @torch.inference_mode(False)
    def sizes(self) -> torch.Tensor:
        """Pixels of each segment: (n,) int64."""
        return torch.bincount(self.where.flatten(), minlength=self.count + 1)[: self.count]

    def pool(self, maps: torch.Tensor) -> torch.Tensor:
        """Mean over each segment of maps (C, h, w), averaged or interpolated to the cells first: (n, C)."""
        height, width = maps.shape[-2:]
        if height * width <= DENSE:
            return self._dense(height, width).to(maps) @ maps.flatten(1).T
        shares = self._by_segment
        cells = resample(maps, *self.grid).flatten(1).T.contiguous()
        weight = (shares.pixels / self.sizes[shares.segment]).to(cells)
        return F.embedding_bag(shares.cell, cells, shares.start, per_sample_weights=weight, mode="sum")

    def paint(self, values: torch.Tensor) -> torch.Tensor:
        """Values (n, C) of the segments at the cells, as means over their pixels: (C, rows, columns); 0 in none."""
        shares = self._by_cell
        rows, columns = self.grid
        total = shares.pixels.new_zeros(rows * columns).index_add_(0, shares.cell, shares.pixels)
        weight = (shares.pixels / total[shares.cell]).to(values)
        flat = values.contiguous()
        cells = F.embedding_bag(shares.segment, flat, shares.start, per_sample_weights=weight, mode="sum")
        return cells.T.unflatten(1, (rows, columns))

    def pixels(self, values: torch.Tensor) -> torch.Tensor:
        """Values (n, C) of the segments at their pixels: (C, H, W); 0 in none."""
        padded = F.pad(values, (0, 0, 0, 1))
        return padded.T.index_select(1, self.where.flatten()).unflatten(1, tuple(self.where.shape))

    @torch.inference_mode(False)
    def _dense(self, height: int, width: int) -> torch.Tensor:
        """What each cell of a map of height x width counts in the mean over each segment: (n, height * width)."""
        if (height, width) not in self._weights:
            shares = self._by_segment
            cells = _interpolation((height, width), self.grid).to(self.where.device)
            weight = shares.pixels / self.sizes[shares.segment]
            self._weights[height, width] = F.embedding_bag(
                shares.cell, cells, shares.start, per_sample_weights=weight, mode="sum"
            )
        return self._weights[height, width]

    @cached_property
    @torch.inference_mode(False)
    def _by_segment(self) -> Shares:
        rows, columns = self.grid
        code, count = torch.unique(self.where * (rows * columns) + self._cells, return_counts=True)  # sorted
        inside = code < self.count * rows * columns
        code, count = code[inside], count[inside].float()
        segment = code // (rows * columns)
        return Shares(code % (rows * columns), segment, count, _starts(segment, self.count))

    @cached_property
    @torch.inference_mode(False)
    def _by_cell(self) -> Shares:
        cell, segment, pixels, _ = self._by_segment
        order = torch.argsort(cell, stable=True)
        rows, columns = self.grid
        return Shares(cell[order], segment[order], pixels[order], _starts(cell[order], rows * columns))

    @property
    def _cells(self) -> torch.Tensor:
        """Cell of each pixel: (H, W) int64; cells divide the picture evenly, as `resample` has it."""
        (height, width), (rows, columns) = self.where.shape, self.grid
        down = torch.arange(height, device=self.where.device) * rows // height
        return down[:, None] * columns + torch.arange(width, device=self.where.device) * columns // width


_CUTS: ByteLRU[torch.Tensor] = ByteLRU(1 << 28)  # of many pictures, in two bytes a pixel
_RECENT: ByteLRU[SegmentMap] = ByteLRU(1 << 27)  # of few, with all that was computed of them


@torch.inference_mode(False)
def segment_map(picture: Picture, segments: int) -> SegmentMap:
    """The picture's superpixels: SLIC (Achanta et al. 2012) of scikit-image on its colours alone.

    What was cut once is remembered by the content of the picture.

    Args:
        picture: The picture; neither its label nor its features are read.
        segments: How many segments, about.

    Raises:
        DataError: Colours are not finite.
    """
    check_finite(picture.rgb, picture.key)
    rgb = picture.rgb.detach().cpu().contiguous().numpy()
    key = f"{hashlib.blake2b(rgb.tobytes()).hexdigest()} {rgb.shape} {segments}"
    known = _RECENT.get(f"{key} {picture.rgb.device}")
    if known is not None:
        return known
    cut = _CUTS.get(key)
    if cut is None:
        cut = torch.from_numpy(_slic(rgb, segments))
        _CUTS.put(key, cut, cut.nbytes)
    found = SegmentMap(cut.long().to(picture.rgb.device), int(cut.max()) + 1)
    _RECENT.put(f"{key} {picture.rgb.device}", found, 4 * found.where.nbytes)
    return found


def _slic(rgb: np.ndarray, segments: int) -> np.ndarray:
    """(H, W) int16 segments of a picture (3, H, W), numbered without gaps."""
    from skimage.segmentation import slic

    cut = slic(
        rgb.transpose(1, 2, 0), segments, compactness=COMPACTNESS, sigma=SIGMA, max_num_iter=ROUNDS, start_label=0
    )
    return np.unique(cut, return_inverse=True)[1].reshape(cut.shape).astype(np.int16)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _interpolation(size: tuple[int, int], grid: tuple[int, int]) -> torch.Tensor:
    """What each cell of a map of `size` counts in each cell of the finer or coarser `grid`."""
    one = torch.eye(size[0] * size[1]).unflatten(1, size)
    return resample(one, *grid).flatten(1).T.contiguous()  # (rows * columns, height * width)


def _starts(things: torch.Tensor, count: int) -> torch.Tensor:
    """Position of the first entry of each of 0..count - 1 in ascending numbers."""
    return torch.searchsorted(things, torch.arange(count, device=things.device))
