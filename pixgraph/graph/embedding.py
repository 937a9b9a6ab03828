"""Node embeddings for nearest-neighbour edges, and the small space in which neighbours are searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.data.picture import Picture
from pixgraph.errors import ConfigError, DataError
from pixgraph.graph.interpolation import bilinear, bilinear_last

Embedding = Callable[[Picture, torch.Tensor], torch.Tensor]
"""(picture, xy (n, 2) float32 in 0..1) -> (n, D) float32."""

REDUCED = 64
"""Dimensions in which neighbours are searched."""
FITTED = 256
"""Support nodes that determine them."""


def node_embedding(picture: Picture, xy: torch.Tensor) -> torch.Tensor:
    """Backbone features at points: each level L2-normalised, sampled bilinearly, joined and L2-normalised again.

    Args:
        picture: A picture with feature maps (C_l, H_l, W_l).
        xy: (n, 2) float32 points: x and y pixel centres divided by W-1 and H-1.

    Returns:
        (n, sum of C_l) float32 of unit length (zero where all features are zero).
    """
    return stacked_embedding([picture], [xy])


def stacked_embedding(
    pictures: Sequence[Picture], xy: Sequence[torch.Tensor], level: int | None = None
) -> torch.Tensor:
    """`node_embedding` of several pictures of one size, the results one below the other.

    Args:
        pictures: P pictures.
        xy: P tensors (n_p, 2).
        level: The only level to take; `None`: all.

    Raises:
        ConfigError: There is no such level.
    """
    height, width = pictures[0].rgb.shape[1:]
    place = torch.cat(list(xy))  # (n, 2)
    lengths = torch.tensor([len(points) for points in xy], device=place.device)
    picture = torch.arange(len(pictures), device=place.device).repeat_interleave(lengths)
    levels = [chosen_levels(p, level) for p in pictures]
    channels = [len(f) for f in levels[0]]
    vectors = torch.empty(len(place), sum(channels), device=place.device)  # (n, D)
    for i, part in enumerate(vectors.split(channels, dim=1)):
        maps = torch.stack([features[i] for features in levels]).float()  # (P, C, h, w)
        h, w = maps.shape[2:]
        cells = maps.permute(0, 2, 3, 1).reshape(len(pictures) * h * w, -1)
        at, weight = _corners(place, (height, width), (h, w))
        at += (picture * (h * w))[:, None]
        weight = weight * _inverse_norm(cells, 1)[:, 0][at]
        part.copy_(F.embedding_bag(at, cells, per_sample_weights=weight, mode="sum"))
    return vectors.mul_(_inverse_norm(vectors, 1))


def chosen_levels(picture: Picture, level: int | None) -> list[torch.Tensor]:
    """The feature maps of a picture, or of these the only one, counted from the end where `level` is negative.

    Raises:
        ConfigError: There is no such level.
    """
    if level is None:
        return picture.features
    count = len(picture.features)
    if not -count <= level < count:
        raise ConfigError(
            f"graph.knn_level: got {level}, expected {-count}..{count - 1} or none: the backbone has {count} levels"
        )
    return [picture.features[level]]


def _corners(xy: torch.Tensor, size: tuple[int, int], grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The four cells of a feature map around each point, and their bilinear weights.

    Args:
        xy: (n, 2) x and y in 0..1.
        size: Height and width of the picture.
        grid: Height and width of the map, whose cells tile the picture.

    Returns:
        (n, 4) int64 cell indices and (n, 4) float32 weights.
    """
    low, high, share = [], [], []
    for points, pixels, cells in ((xy[:, 1], size[0], grid[0]), (xy[:, 0], size[1], grid[1])):
        place = ((points * (pixels - 1) + 0.5) * (cells / pixels) - 0.5).clamp_(0, cells - 1)
        low.append(place.long())
        high.append((low[-1] + 1).clamp_(max=cells - 1))
        share.append(place - low[-1])
    (top, left), (bottom, right), (down, across) = low, high, share
    at = [top * grid[1] + left, top * grid[1] + right, bottom * grid[1] + left, bottom * grid[1] + right]
    weight = [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
    return torch.stack(at, dim=1), torch.stack(weight, dim=1)


def _inverse_norm(x: torch.Tensor, dim: int) -> torch.Tensor:
    """1 / |x| along a dimension that is kept; a large number where x is zero."""
    return x.square().sum(dim, keepdim=True).clamp_min_(1e-24).rsqrt_()


@dataclass
class EmbeddingSpace:
    """The support nodes' vectors, and how a picture's grid of nodes is brought into the same space.

    Vectors of more than `REDUCED` dimensions are projected onto the principal subspace of the support nodes. What a
    query's vector has outside of it meets little in the support's vectors, so their inner products, and with them the
    order of the neighbours, hardly change.

    Attributes:
        vectors: (S, d) float32.
        basis: (D, d) float32 with orthonormal columns; `None`: not reduced.
        embedding: The user's embedding; `None`: `node_embedding`.
        level: The only level of the latter; `None`: all.
    """

    vectors: torch.Tensor
    basis: torch.Tensor | None
    embedding: Embedding | None
    level: int | None = None

    @classmethod
    def fit(cls, vectors: torch.Tensor, embedding: Embedding | None, level: int | None = None) -> EmbeddingSpace:
        """The space of support vectors (S, D).

        The subspace comes from one round of subspace iteration (Halko, Martinsson and Tropp, 2011) on at most
        `FITTED` of the nodes.

        Raises:
            DataError: The vectors are not finite.
        """
        _check_finite(vectors, "the supports")
        if vectors.shape[1] <= REDUCED:
            return cls(vectors, None, embedding, level)
        some = vectors[:: -(-len(vectors) // FITTED)]  # (f, D)
        start = np.random.default_rng(0).standard_normal((len(some), REDUCED), dtype=np.float32)
        basis = torch.linalg.qr(some.T @ (some @ (some.T @ torch.from_numpy(start).to(some)))).Q
        return cls(vectors @ basis, basis, embedding, level)

    def grid(self, picture: Picture, height: int, width: int, xy: torch.Tensor) -> torch.Tensor:
        """Vectors of a grid of nodes.

        Args:
            picture: The picture.
            height: Rows of nodes.
            width: Nodes in a row.
            xy: (height * width, 2) the nodes' x and y.

        Returns:
            (height * width, d) float32, of any length: neighbours are ranked by the cosine.

        Raises:
            DataError: The embedding is not finite.
        """
        if self.embedding is None:
            vectors = self._interpolated(picture, height, width)
        else:
            vectors = self.embedding(picture, xy).detach().float()
            vectors = vectors if self.basis is None else vectors @ self.basis
        _check_finite(vectors, f"picture {picture.key!r}")
        return vectors

    def _interpolated(self, picture: Picture, height: int, width: int) -> torch.Tensor:
        """The default embedding without its last normalisation.

        Projection and interpolation are linear, so a level is projected where it has fewer cells, on its own grid or on
        that of the nodes, and levels of one size are summed before they are interpolated.
        """
        maps: dict[tuple[int, int], torch.Tensor] = {}
        first = 0
        parts = []
        for feature in chosen_levels(picture, self.level):
            unit = feature.float() * _inverse_norm(feature.float(), 0)  # (C, h, w)
            if unit[0].numel() > height * width:
                unit = bilinear(unit, height, width)
            size, level = (unit.shape[1], unit.shape[2]), unit.flatten(1).T  # (h*w, C)
            if self.basis is None:
                parts.append(_resized(level, size, (height, width)))
                continue
            level = level @ self.basis[first : first + len(unit)]  # (h*w, d)
            maps[size] = maps[size].add_(level) if size in maps else level
            first += len(unit)
        if self.basis is None:
            return torch.cat(parts, dim=1)
        total, *others = [_resized(level, size, (height, width)) for size, level in maps.items()]
        for level in others:
            total.add_(level)
        return total


def _resized(level: torch.Tensor, size: tuple[int, int], wanted: tuple[int, int]) -> torch.Tensor:
    """Bilinear interpolation of a map (h*w, C), row by row, to another size."""
    if size == wanted:
        return level
    return bilinear_last(level.contiguous().view(1, *size, -1), *wanted).reshape(wanted[0] * wanted[1], -1)


def _check_finite(vectors: torch.Tensor, what: str) -> None:
    # One sum finds them without a mask of the size of the vectors.
    if not torch.isfinite(vectors.sum()):
        raise DataError(f"embedding of {what}: got NaN or infinite values, expected finite ones; check the features")
