"""Node embeddings for nearest-neighbour edges, and the small space in which neighbours are searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.data.picture import Picture
from pixgraph.errors import DataError

Embedding = Callable[[Picture, torch.Tensor], torch.Tensor]
"""(picture, xy (n, 2) float32 in 0..1) -> (n, D) float32."""

REDUCED = 64
"""Dimensions in which neighbours are searched."""


def node_embedding(picture: Picture, xy: torch.Tensor) -> torch.Tensor:
    """Backbone features at points: each level L2-normalised, sampled bilinearly, joined and L2-normalised again.

    Args:
        picture: A picture with feature maps (C_l, H_l, W_l).
        xy: (n, 2) float32 points: x and y pixel centres divided by W-1 and H-1.

    Returns:
        (n, sum of C_l) float32 of unit length (zero where all features are zero).
    """
    return stacked_embedding([picture], [xy])[0]


def stacked_embedding(pictures: Sequence[Picture], xy: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """`node_embedding` of several pictures of one size at once."""
    height, width = pictures[0].rgb.shape[1:]
    longest = max(len(points) for points in xy)
    grid = torch.zeros(len(pictures), 1, longest, 2, device=pictures[0].rgb.device)
    for row, points in zip(grid, xy, strict=True):
        row[0, : len(points)] = points
    # From pixel centres over (size - 1) to the convention of grid_sample with align_corners=False.
    size = grid.new_tensor([width, height])
    grid = (2 * grid * (size - 1) + 1) / size - 1
    levels = []
    for level in range(len(pictures[0].features)):
        maps = F.normalize(torch.stack([p.features[level] for p in pictures]).float(), dim=1)
        levels.append(F.grid_sample(maps, grid, padding_mode="border", align_corners=False)[:, :, 0])
    joined = F.normalize(torch.cat(levels, dim=1), dim=1).transpose(1, 2)  # (P, n, D)
    return [vectors[: len(points)] for vectors, points in zip(joined, xy, strict=True)]


@dataclass
class EmbeddingSpace:
    """The support nodes' vectors, and how a picture's grid of nodes is brought into the same space.

    Vectors of more than `REDUCED` dimensions are projected onto the principal subspace of the support nodes. What a
    query's vector has outside of it meets almost nothing in the support's vectors, so their inner products, and with
    them the order of the neighbours, hardly change.

    Attributes:
        vectors: (S, d) float32.
        basis: (D, d) float32 with orthonormal columns; `None`: not reduced.
        embedding: The user's embedding; `None`: `node_embedding`.
    """

    vectors: torch.Tensor
    basis: torch.Tensor | None
    embedding: Embedding | None

    @classmethod
    def fit(cls, vectors: torch.Tensor, embedding: Embedding | None) -> EmbeddingSpace:
        """Find the principal subspace of the support vectors (S, D) by two rounds of subspace iteration."""
        if not torch.isfinite(vectors).all():
            raise DataError("support embedding: got NaN or infinite values, expected finite ones; check the features")
        if min(vectors.shape) <= REDUCED and vectors.shape[1] <= REDUCED:
            return cls(vectors, None, embedding)
        start = np.random.default_rng(0).standard_normal((vectors.shape[1], min(REDUCED, *vectors.shape)))
        basis = torch.from_numpy(start).to(vectors)
        for _ in range(2):
            basis = torch.linalg.qr(vectors.T @ (vectors @ basis)).Q
        return cls(vectors @ basis, basis, embedding)

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
        if self.embedding is not None:
            vectors = self.embedding(picture, xy).detach()
            vectors = vectors if self.basis is None else vectors @ self.basis
        else:
            vectors = self._interpolated(picture, height, width)
        if not torch.isfinite(vectors).all():
            raise DataError(f"embedding of picture {picture.key!r}: got NaN or infinite values, expected finite ones")
        return vectors

    def _interpolated(self, picture: Picture, height: int, width: int) -> torch.Tensor:
        """The default embedding without its last normalisation; projected first, as both steps are linear."""
        total, first = None, 0
        parts = []
        for feature in picture.features:
            level = F.normalize(feature.float(), dim=0)
            channels = level.shape[0]
            if self.basis is not None:
                level = torch.einsum("cd,chw->dhw", self.basis[first : first + channels], level)
            first += channels
            if level.shape[1:] != (height, width):
                level = F.interpolate(level[None], (height, width), mode="bilinear", align_corners=False)[0]
            if self.basis is None:
                parts.append(level)
            else:
                total = level if total is None else total.add_(level)
        joined = torch.cat(parts) if total is None else total
        return joined.reshape(len(joined), -1).T.contiguous()
