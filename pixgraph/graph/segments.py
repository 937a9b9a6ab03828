"""Segments as nodes: superpixels of queries, labelled segments of supports, and the region adjacency graph.

A node's colour and place are means over its segment, its vector that of the feature maps. Neighbours are the segments
that touch, however far their centres lie apart; what is farther away is reached by kNN edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.config import GraphConfig
from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.picture import Picture
from pixgraph.graph.edge_blocks import ListedEdges
from pixgraph.graph.edges import EdgeKind
from pixgraph.graph.embedding import EmbeddingSpace, chosen_levels
from pixgraph.graph.segment_map import SegmentMap, segment_map


@dataclass(frozen=True)
class SegmentNodes:
    """The nodes of one picture.

    Attributes:
        key: The picture's key.
        rgbxy: (n, 5) float32 means over the segments.
        segments: Where they are.
        first: Id of the first node in the task graph.
        vectors: (n, d) float32 in the support's embedding space; `None` if no neighbours are searched.
    """

    key: str
    rgbxy: torch.Tensor
    segments: SegmentMap
    first: int
    vectors: torch.Tensor | None

    def __len__(self) -> int:
        return self.segments.count


def segment_nodes(picture: Picture, config: GraphConfig, first: int, space: EmbeddingSpace | None) -> SegmentNodes:
    """The nodes of a picture without a label.

    Args:
        picture: The picture; its label is not read.
        config: How many segments.
        first: Id of the first node.
        space: Where vectors are wanted; `None`: nowhere.

    Raises:
        DataError: Colours are not finite.
    """
    segments = segment_map(picture, config.segments)
    rgbxy = segment_means(picture.rgb, segments)
    vectors = None if space is None else _in_space(picture, segments, rgbxy, space)
    return SegmentNodes(picture.key, rgbxy, segments, first, vectors)


def majority(label: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    """The label that most known pixels of each segment have.

    At a tie it is the one that comes first, row by row, so that the numbers of the classes have no influence.

    Args:
        label: (H, W) integers: 0 background, 1..N classes, 254 unlabelled, 255 unknown.
        where: (H, W) integers: the segment of each pixel; those of `count` are in none.
        count: Number of segments, n.

    Returns:
        (n,) int64, 255 where no pixel is known.
    """
    flat, segment = label.ravel(), where.ravel()
    pixels = np.flatnonzero((flat < UNLABELLED) & (segment < count))
    code = segment[pixels].astype(np.int64) * 256 + flat[pixels]
    votes = np.bincount(code, minlength=count * 256).reshape(count, 256)
    came = np.full(count * 256, flat.size)
    came[code[::-1]] = pixels[::-1]  # the first pixel of each label in each segment is written last
    most = (votes > 0) & (votes == votes.max(1, keepdims=True))
    winner = np.where(most, came.reshape(count, 256), flat.size).argmin(1)
    return np.where(most.any(1), winner, IGNORE)


def support_segments(label: np.ndarray, segments: SegmentMap) -> tuple[SegmentMap, np.ndarray]:
    """The labelled segments of a support.

    A segment has the label of the `majority`; one without a known pixel is left out. A label that wins no segment is
    not lost: all its pixels together leave their segments and are a segment of their own.

    Args:
        label: (H, W) integers: 0 background, 1..N classes, 254 unlabelled, 255 unknown.
        segments: All segments of the picture.

    Returns:
        The labelled segments, first those of `segments` in their order, and their labels (n,) int64.
    """
    old = segments.where.cpu().numpy()
    won = majority(label, old, segments.count)
    present, appears = np.unique(label[label < UNLABELLED], return_index=True)
    present = present[np.argsort(appears)]
    lost = present[~np.isin(present, won)]
    kept = np.flatnonzero(won != IGNORE)
    count = len(kept) + len(lost)
    new = np.full(segments.count + 1, count)
    new[kept] = np.arange(len(kept))
    where = new[old]
    for i, c in enumerate(lost.tolist()):
        where[label == c] = len(kept) + i
    labels = np.concatenate([won[kept], lost]).astype(np.int64)
    return SegmentMap(torch.from_numpy(where).to(segments.where.device), count), labels


def segment_means(rgb: torch.Tensor, segments: SegmentMap) -> torch.Tensor:
    """Mean R, G, B, x and y, x and y in 0..1, of each segment of a picture (3, H, W): (n, 5) float32."""
    height, width = rgb.shape[-2:]
    y = torch.arange(height, device=rgb.device, dtype=rgb.dtype) / max(height - 1, 1)
    x = torch.arange(width, device=rgb.device, dtype=rgb.dtype) / max(width - 1, 1)
    planes = torch.cat([rgb, x.expand(1, height, width), y[:, None].expand(1, height, width)]).flatten(1)
    # In double precision where there is one: a segment may be as large as the picture.
    planes = planes.double() if rgb.device.type != "mps" else planes
    sums = planes.new_zeros(5, segments.count + 1).index_add_(1, segments.where.flatten(), planes)
    return (sums[:, : segments.count] / segments.sizes).T.to(rgb.dtype).contiguous()


def segment_vectors(
    picture: Picture, segments: SegmentMap, level: int | None = None, basis: torch.Tensor | None = None
) -> torch.Tensor:
    """Each segment's mean of `node_embedding`: levels of unit length, joined.

    Args:
        picture: Its feature maps (C_l, H_l, W_l).
        segments: Its segments.
        level: The only level to take; `None`: all.
        basis: (sum of C_l, d) columns onto which the vectors are projected; `None`: they are not.

    Returns:
        (n, sum of C_l) float32 of unit length, or (n, d) of any length.
    """
    pooled, start = [], 0
    for feature in chosen_levels(picture, level):
        unit = F.normalize(feature.float(), dim=0, eps=1e-12)
        if basis is not None:
            unit = (basis[start : start + len(unit)].T @ unit.flatten(1)).unflatten(1, tuple(unit.shape[1:]))
        start += len(feature)
        pooled.append(segments.pool(unit))
    return F.normalize(torch.cat(pooled, 1), dim=1) if basis is None else torch.stack(pooled).sum(0)


def touching(segments: SegmentMap) -> tuple[torch.Tensor, torch.Tensor]:
    """The region adjacency graph: pairs of segments that have pixels above, below or beside each other.

    Args:
        segments: The segments.

    Returns:
        Source and destination, (E,) int64 each, in both directions, ascending by destination.
    """
    where, count = segments.where, segments.count
    a = torch.cat([where[1:].flatten(), where[:, 1:].flatten()])
    b = torch.cat([where[:-1].flatten(), where[:, :-1].flatten()])
    joined = (a != b) & (torch.maximum(a, b) < count)
    a, b = a[joined], b[joined]
    code = torch.cat([a * count + b, b * count + a]).unique()
    return code % max(count, 1), code // max(count, 1)


def adjacency_block(nodes: SegmentNodes) -> ListedEdges:
    """Edges between the segments of a picture that touch."""
    src, dst = touching(nodes.segments)
    return ListedEdges(src + nodes.first, dst + nodes.first, EdgeKind.LATTICE)


def similar_block(nodes: SegmentNodes, config: GraphConfig) -> ListedEdges | None:
    """From the nearest other segments of the same picture by cosine, besides those that it touches."""
    if not config.query_query_knn or nodes.vectors is None:
        return None
    unit = F.normalize(nodes.vectors, dim=1)
    similarity = unit @ unit.T  # (n, n), a row a destination
    similarity.fill_diagonal_(-torch.inf)
    src, dst = touching(nodes.segments)
    similarity[dst, src] = -torch.inf
    best, found = similarity.topk(min(config.query_query_knn, len(nodes) - 1), dim=1)
    node = torch.arange(len(nodes), device=found.device)[:, None].expand_as(found)
    free = best > -torch.inf
    return ListedEdges(found[free] + nodes.first, node[free] + nodes.first, EdgeKind.QUERY_QUERY_KNN)


def _in_space(picture: Picture, segments: SegmentMap, rgbxy: torch.Tensor, space: EmbeddingSpace) -> torch.Tensor:
    """Vectors (n, d) of a picture's segments; those of the user's own embedding are taken at their centres."""
    if space.embedding is None:
        return segment_vectors(picture, segments, space.level, space.basis)
    vectors = space.embedding(picture, rgbxy[:, 3:]).detach().float()
    return vectors if space.basis is None else vectors @ space.basis
