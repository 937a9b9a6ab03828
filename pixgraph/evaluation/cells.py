"""Frozen features and labels of a picture on one grid of cells: what the feature-level baselines work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.models.cell_labels import label_shares
from pixgraph.models.levels import coarse_levels, resample

CellFeatures = Callable[[Picture, int], torch.Tensor]
"""A picture and a stride to its cells' features (h, w, C), as `cell_features` gives them."""


def cell_features(picture: Picture, stride: int = 8) -> torch.Tensor:
    """The coarse feature levels of a picture on one grid, each level normalised to unit length, then the whole.

    The levels are those that carry the evidence of the training-free graph. Finer ones are averaged over the cell,
    coarser ones interpolated, so that the inner product of two cells is the mean of their cosines over the levels.

    Args:
        picture: Feature maps (C_l, H_l, W_l).
        stride: Side of a cell in pixels of the working size.

    Returns:
        (h, w, C) float32 with C the sum of the coarse levels' channels, h = ceil(H / stride).
    """
    height, width = picture.rgb.shape[-2:]
    grid = (-(-height // stride), -(-width // stride))
    coarse = coarse_levels(picture.features, height)
    levels = []
    for i in coarse:
        x = resample(picture.features[i].float(), *grid).flatten(1)  # (C_l, h*w)
        levels.append(x * (x.square().sum(0).clamp_min(1e-12) * len(coarse)).rsqrt())
    return torch.cat(levels).T.contiguous().view(*grid, -1)


class RememberedCells:
    """`cell_features` that remembers its last answers, for methods that look at the same task one after another.

    A picture is recognised by its list of feature maps, which must not be changed in place.

    Args:
        capacity: Most pictures that are remembered.
    """

    def __init__(self, capacity: int = 16) -> None:
        self.capacity = capacity
        # The list is kept beside its id, so that no other list can get that id.
        self._known: dict[tuple[int, int], tuple[list[torch.Tensor], torch.Tensor]] = {}

    def __call__(self, picture: Picture, stride: int = 8) -> torch.Tensor:
        """The answer of `cell_features(picture, stride)`."""
        key = (id(picture.features), stride)
        if key not in self._known:
            while len(self._known) >= self.capacity:
                self._known.pop(next(iter(self._known)))
            self._known[key] = (picture.features, cell_features(picture, stride))
        return self._known[key][1]


class SupportCells(NamedTuple):
    """Labelled cells of all supports of a task.

    Attributes:
        features: (S, C) float32 of unit length.
        shares: (S, N+1) float32, share of each label in the cell.
        area: (S,) float32 in (0, 1], known part of the cell.
    """

    features: torch.Tensor
    shares: torch.Tensor
    area: torch.Tensor


def support_cells(
    task: FewShotTask, stride: int = 8, limit: int | None = None, features_of: CellFeatures = cell_features
) -> SupportCells:
    """Cells of all supports that hold at least one known pixel.

    Args:
        task: The supports' `label` must be there.
        stride: Side of a cell in pixels of the working size.
        limit: Most cells to keep: those with any foreground first, the rest at even steps over all pictures.
        features_of: Gives the features; a `RememberedCells` shares them between methods.

    Raises:
        ValueError: A support has no label.
    """
    parts = []
    for picture in task.support:
        if picture.label is None:
            raise ValueError(f"support picture {picture.key!r} has no label: only queries and unlabelled may lack one")
        features = features_of(picture, stride)
        shares, area = label_shares(picture.label[None], task.n_way, features.shape[0], features.shape[1])
        known = area > 0
        parts.append((features.flatten(0, 1)[known], shares[known], area[known]))
    features, shares, area = (torch.cat(column) for column in zip(*parts, strict=True))
    if limit is not None and len(features) > limit:
        chosen = _spread(shares[:, 0] < 1, limit)
        features, shares, area = features[chosen], shares[chosen], area[chosen]
    return SupportCells(features, shares, area)


def _spread(foreground: torch.Tensor, limit: int) -> torch.Tensor:
    """Indices of at most `limit` cells, foreground before background, each thinned at even steps; sorted.

    The foreground may take three quarters of the places, so that some background always stays.
    """
    fg, bg = foreground.nonzero()[:, 0], (~foreground).nonzero()[:, 0]
    room = limit - min(len(bg), limit // 4)
    return torch.cat([_thin(fg, room), _thin(bg, limit - min(len(fg), room))]).sort().values


def _thin(indices: torch.Tensor, limit: int) -> torch.Tensor:
    """At most `limit` of `indices`, at even steps."""
    if len(indices) <= limit:
        return indices
    return indices[torch.arange(limit, device=indices.device) * len(indices) // limit]


def to_pixels(cells: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Bilinear map of cell probabilities (h, w, N+1) to (N+1, H, W) at the working size."""
    return F.interpolate(cells.permute(2, 0, 1)[None], tuple(size), mode="bilinear", align_corners=False)[0]
