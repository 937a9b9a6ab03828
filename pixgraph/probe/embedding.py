"""One vector a place: the chosen maps of a backbone, centred and scaled over some pictures, of unit length, joined.

The inner product of two vectors is the mean of their cosines over the maps. Without centring, the features of a network
that ends in ReLUs all point the same way, and everything resembles everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pixgraph.data.picture import Picture
from pixgraph.models.levels import level_statistics, resample


class Embedding:
    """Turns feature maps into vectors of unit length.

    Args:
        pictures: Give the mean and the deviation of each channel; at least one.
        levels: Which of their maps count.
    """

    def __init__(self, pictures: Sequence[Picture], levels: Sequence[int]) -> None:
        self.levels = list(levels)
        self._statistics = level_statistics(pictures)

    def __repr__(self) -> str:
        return f"Embedding(levels={self.levels})"

    def grid(self, picture: Picture, rows: int, columns: int) -> torch.Tensor:
        """Vectors of a grid of cells; maps are averaged where they are finer and interpolated where they are coarser.

        Args:
            picture: Its feature maps.
            rows: Cells of the grid, h.
            columns: Cells in a row, w.

        Returns:
            (h, w, C) float32, C the sum of the maps' channels.
        """
        parts = []
        for i in self.levels:
            mean, deviation = self._statistics[i]
            x = resample((picture.features[i] - mean) / deviation, rows, columns)
            parts.append(torch.nn.functional.normalize(x, dim=0))
        return torch.cat(parts).permute(1, 2, 0) / len(self.levels) ** 0.5

    def cells(self, picture: Picture, stride: int) -> torch.Tensor:
        """Vectors (h, w, C) of cells of stride x stride pixels of the working size, h = ceil(H / stride)."""
        height, width = picture.rgb.shape[-2:]
        return self.grid(picture, -(-height // stride), -(-width // stride))
