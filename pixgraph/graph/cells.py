"""The grid of nodes of a picture without a label: every pixel, or every cell of stride x stride pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pixgraph.data.picture import Picture
from pixgraph.errors import ConfigError, DataError
from pixgraph.graph.embedding import EmbeddingSpace


@dataclass(frozen=True)
class Cells:
    """The nodes of one picture.

    Attributes:
        key: The picture's key.
        rgbxy: (n, 5) float32, row by row: mean colour of the cell, and its centre.
        height: Rows.
        width: Columns.
        stride: Pixels between the centres of neighbouring cells.
        first: Id of the first node in the task graph.
        vectors: (n, d) float32 in the support's embedding space; `None` if no neighbours are searched.
    """

    key: str
    rgbxy: torch.Tensor
    height: int
    width: int
    stride: int
    first: int
    vectors: torch.Tensor | None

    def __len__(self) -> int:
        return self.height * self.width

    @property
    def steps(self) -> tuple[float, float]:
        """Distance of neighbouring centres along y and along x, in the units of the node feature."""
        return tuple(self.stride / max(side * self.stride - 1, 1) for side in (self.height, self.width))  # type: ignore[return-value]


def grid_size(rgb: torch.Tensor, stride: int) -> tuple[int, int]:
    """Rows and columns of the nodes of a picture (3, H, W).

    Raises:
        ConfigError: The stride does not divide the picture's sides.
    """
    height, width = rgb.shape[-2:]
    if height % stride or width % stride:
        raise ConfigError(
            f"graph.stride: got {stride} for pictures of {height} x {width}, expected a divisor of both sides;"
            " change graph.stride or backbone.size"
        )
    return height // stride, width // stride


def picture_cells(picture: Picture, stride: int, first: int, space: EmbeddingSpace | None) -> Cells:
    """The nodes of a picture.

    Args:
        picture: The picture; its label is not read.
        stride: Side of a cell in pixels.
        first: Id of the first node.
        space: Where vectors are wanted; `None`: nowhere.

    Raises:
        ConfigError: The stride does not divide the picture's sides.
        DataError: Colours or vectors are not finite.
    """
    height, width = grid_size(picture.rgb, stride)
    rgb = picture.rgb if stride == 1 else F.avg_pool2d(picture.rgb, stride)
    rgbxy = torch.empty(height * width, 5, device=rgb.device)
    rgbxy[:, :3] = rgb.reshape(3, -1).T
    check_finite(rgbxy[:, :3], picture.key)
    rgbxy[:, 3] = centres(width, stride, rgb.device).repeat(height)
    rgbxy[:, 4] = centres(height, stride, rgb.device).repeat_interleave(width)
    vectors = None if space is None else space.grid(picture, height, width, rgbxy[:, 3:])
    return Cells(picture.key, rgbxy, height, width, stride, first, vectors)


def centres(count: int, stride: int, device: torch.device) -> torch.Tensor:
    """Centres of the cells along a side, in pixels divided by (side - 1): (count,) float32."""
    pixel = torch.arange(count, device=device, dtype=torch.float32) * stride + (stride - 1) / 2
    return pixel / max(count * stride - 1, 1)


def check_finite(rgb: torch.Tensor, key: str) -> None:
    """Refuse colours that are NaN or infinite; `key` names the picture.

    Raises:
        DataError: There are some.
    """
    # One sum finds them without a mask of the size of the picture.
    if not torch.isfinite(rgb.sum()):
        raise DataError(f"picture {key!r}: got NaN or infinite colours, expected RGB in 0..1")
