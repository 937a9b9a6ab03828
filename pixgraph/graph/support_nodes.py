"""The nodes of one support picture: pixels drawn from its mask, or its labelled segments."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch

from pixgraph.config import GraphConfig
from pixgraph.data.picture import Picture
from pixgraph.errors import DataError
from pixgraph.graph.cells import check_finite
from pixgraph.graph.sampling import SampledNodes, sample_nodes
from pixgraph.graph.segment_map import SegmentMap, segment_map
from pixgraph.graph.segments import segment_means, support_segments


@dataclass(frozen=True)
class SupportNodes:
    """The nodes of one support.

    Attributes:
        rgbxy: (n, 5) float32.
        label: (n,) int64, 0..N.
        shortfall: Class (0 background) -> nodes missing of the number asked for; of segments none are.
        mark: Tells apart two supports of the same picture with different masks, whatever the numbers of the classes.
        segments: The segments that are nodes; `None`: nodes are pixels.
    """

    rgbxy: torch.Tensor
    label: np.ndarray
    shortfall: dict[int, int]
    mark: int
    segments: SegmentMap | None

    def __len__(self) -> int:
        return len(self.label)


def support_nodes(picture: Picture, config: GraphConfig, seed: int) -> SupportNodes:
    """The nodes of a support.

    Args:
        picture: A labelled picture.
        config: Whether nodes are pixels or segments, and how many.
        seed: Seed of the draw of pixels.

    Raises:
        DataError: The picture has no label, or colours that are not finite.
    """
    if picture.label is None:
        raise DataError(f"support picture {picture.key!r} has no label; give it a mask, or pass it as unlabelled")
    if config.nodes == "segments":
        segments, label = labelled_segments(picture, config.segments)
        where = segments.where.cpu().numpy().astype(np.int32)
        mark = zlib.crc32(where.tobytes() + (label > 0).tobytes())
        shortfall = {int(c): 0 for c in np.unique(label)}
        return SupportNodes(segment_means(picture.rgb, segments), label, shortfall, mark, segments)
    drawn = sample_nodes(picture.label, config.num_fg, config.num_bg, config.sampling, seed, picture.key)
    mark = zlib.crc32(np.stack([drawn.rows, drawn.cols, drawn.label > 0]).tobytes())
    return SupportNodes(_pixels(picture, drawn), drawn.label, drawn.shortfall, mark, None)


def labelled_segments(picture: Picture, segments: int) -> tuple[SegmentMap, np.ndarray]:
    """`support_segments` of a picture that has a label, cut into about so many segments."""
    if picture.label is None:
        raise DataError(f"support picture {picture.key!r} has no label; give it a mask, or pass it as unlabelled")
    return support_segments(picture.label.cpu().numpy(), segment_map(picture, segments))


def _pixels(picture: Picture, nodes: SampledNodes) -> torch.Tensor:
    """The nodes' (n, 5) colours and coordinates."""
    height, width = picture.rgb.shape[1:]
    place = np.stack([nodes.cols / max(width - 1, 1), nodes.rows / max(height - 1, 1)], axis=1).astype(np.float32)
    index = torch.from_numpy(nodes.rows * width + nodes.cols).to(picture.rgb.device)
    rgbxy = torch.cat([picture.rgb.reshape(3, -1)[:, index].T, torch.from_numpy(place).to(picture.rgb.device)], dim=1)
    check_finite(rgbxy[:, :3], picture.key)
    return rgbxy
