"""Where the nodes of a picture are (points, cells of a grid, or segments), and what goes between them and maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pixgraph.graph.segment_map import SegmentMap
from pixgraph.graph.segments import majority
from pixgraph.models.levels import resample, sample_at


@dataclass(frozen=True)
class NodePoints:
    """Nodes at single pixels of a support.

    Attributes:
        xy: (n, 2) x and y pixel centres divided by (width - 1) and (height - 1).
        size: Height and width of the picture, in pixels.
    """

    xy: torch.Tensor
    size: tuple[int, int]

    def shrink(self, maps: torch.Tensor) -> torch.Tensor:
        """A map (C, h, w) with fewer cells that gives the same in `collect`: itself."""
        return maps

    def collect(self, maps: torch.Tensor) -> torch.Tensor:
        """Values of a map (C, h, w) at the nodes: (n, C)."""
        return sample_at(maps, self.xy, self.size)


class _Consecutive:
    """Nodes whose ids follow each other from `first` on."""

    first: int

    def __len__(self) -> int:
        raise NotImplementedError

    @property
    def nodes(self) -> slice:
        """Ids of the nodes."""
        return self.nodes_from(0)

    def nodes_from(self, first: int) -> slice:
        """Positions of the nodes in a tensor that starts with node `first`."""
        return slice(self.first - first, self.first - first + len(self))


@dataclass(frozen=True)
class NodeGrid(_Consecutive):
    """The nodes of one query or unlabelled picture: a row-major grid of consecutive ids.

    Attributes:
        first: Id of the first node.
        rows: Rows of nodes.
        columns: Nodes in a row.
    """

    first: int
    rows: int
    columns: int

    def __len__(self) -> int:
        return self.rows * self.columns

    def shrink(self, maps: torch.Tensor) -> torch.Tensor:
        """A map (C, h, w) with fewer cells that gives the same in `collect`."""
        return _shrunk(maps, self.rows, self.columns)

    def collect(self, maps: torch.Tensor) -> torch.Tensor:
        """Values of a map (C, h, w) at the nodes: (n, C)."""
        return resample(maps, self.rows, self.columns).flatten(1).T

    def image(self, values: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Values (V - first, N, ...) of the nodes from `first` on, as pictures: (N, ..., rows, columns)."""
        return values[self.nodes_from(first)].movedim(0, -1).unflatten(-1, (self.rows, self.columns))

    def pixels(self, values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Values (n, C) of the nodes at all pixels, between the nodes bilinear: (C, height, width)."""
        image = self.image(values, self.first)[None]
        return F.interpolate(image, size, mode="bilinear", align_corners=False)[0]

    def labels(self, label: torch.Tensor) -> torch.Tensor:
        """Label (H, W) int64 at the centre of each node: (n,) int64."""
        centre = F.interpolate(label[None, None].float(), (self.rows, self.columns), mode="nearest-exact")
        return centre.long().flatten()


@dataclass(frozen=True)
class NodeSegments(_Consecutive):
    """The nodes of one picture: segments with consecutive ids.

    Attributes:
        first: Id of the first node.
        segments: Where they are; of a support only those with a label.
    """

    first: int
    segments: SegmentMap

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def rows(self) -> int:
        """Rows of the pictures that `image` gives."""
        return self.segments.grid[0]

    @property
    def columns(self) -> int:
        """Columns of these pictures."""
        return self.segments.grid[1]

    def shrink(self, maps: torch.Tensor) -> torch.Tensor:
        """A map (C, h, w) with fewer cells that gives the same in `collect`."""
        return _shrunk(maps, self.rows, self.columns)

    def collect(self, maps: torch.Tensor) -> torch.Tensor:
        """Means of a map (C, h, w) over the nodes: (n, C)."""
        return self.segments.pool(maps)

    def image(self, values: torch.Tensor, first: int = 0) -> torch.Tensor:
        """Values (V - first, N, ...) of the nodes from `first` on, painted: (N, ..., rows, columns)."""
        own = values[self.nodes_from(first)]
        return self.segments.paint(own.flatten(1)).unflatten(0, tuple(own.shape[1:]))

    def pixels(self, values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Values (n, C) of the nodes at all pixels of a picture of `size`: (C, height, width)."""
        return self.segments.pixels(values)

    def labels(self, label: torch.Tensor) -> torch.Tensor:
        """Label that most known pixels of each node have, in a picture (H, W) int64: (n,) int64; 255: none known."""
        found = majority(label.cpu().numpy(), self.segments.where.cpu().numpy(), len(self))
        return torch.from_numpy(found).to(label.device)


PicturePlace = NodeGrid | NodeSegments
"""All nodes of a picture, which together cover it."""


def joined(parts: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """The parts one after the other; a single one, as of a single query, is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim)


def _shrunk(maps: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """A map (C, h, w) at `rows` x `columns` cells, unless it has fewer already."""
    return resample(maps, rows, columns) if rows <= maps.shape[-2] and columns <= maps.shape[-1] else maps
