"""Edges of query nodes. No label has any part in them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch

from pixgraph.config import GraphConfig
from pixgraph.graph.cells import Cells
from pixgraph.graph.edges import EdgeKind, lattice_features, switch_features
from pixgraph.graph.lattice import check_dilations, lattice_edges
from pixgraph.graph.neighbours import nearest_neighbours
from pixgraph.graph.partners import draw_distinct, skip
from pixgraph.graph.support import SupportPart


@dataclass(frozen=True)
class EdgeBlock:
    """Edges that are built together.

    Attributes:
        src: (E,) int64.
        dst: (E,) int64.
        kind: (E,) uint8.
        feature: (E, 3) float32; `None`: still to be computed.
        one_way: Whether the reverse edges must be added where messages are to flow both ways.
    """

    src: torch.Tensor
    dst: torch.Tensor
    kind: torch.Tensor
    feature: torch.Tensor | None = None
    one_way: bool = False

    @classmethod
    def of(
        cls, src: np.ndarray, dst: np.ndarray, kind: np.ndarray | EdgeKind, device: torch.device, one_way: bool
    ) -> EdgeBlock:
        """A block without features from arrays of one shape; `kind` may be one for all."""
        kinds = np.full(src.shape, kind, dtype=np.uint8) if isinstance(kind, EdgeKind) else kind
        # A copy: broadcast arrays are not contiguous, and torch warns of arrays that must not be written to.
        start, end, what = (torch.from_numpy(np.array(x).reshape(-1)).to(device) for x in (src, dst, kinds))
        return cls(start, end, what, None, one_way)


def lattice_block(cells: Cells, config: GraphConfig) -> EdgeBlock:
    """The lattice of a picture, both directions, with features."""
    dilations, connectivity = check_dilations(cells.height, cells.width, config.dilations), config.connectivity
    edges = lattice_edges(cells.height, cells.width, dilations, connectivity)
    src, dst = (x.to(cells.rgbxy.device) + cells.first for x in edges)
    rgb = cells.rgbxy[:, :3].reshape(cells.height, cells.width, 3)
    kind = torch.full_like(src, EdgeKind.LATTICE, dtype=torch.uint8)
    feature = lattice_features(rgb, cells.steps, dilations, config.color, connectivity)
    return EdgeBlock(src, dst, kind, switch_features(feature, config))


def support_block(part: SupportPart, cells: Cells) -> EdgeBlock:
    """From the support: the nearest nodes of each query node by cosine, and random others, all distinct.

    A node's edges follow each other, nearest first. If there are fewer support nodes than wanted, all are taken.
    """
    config, n = part.config, len(cells)
    nearest = np.empty((n, 0), dtype=np.int64)
    if part.space is not None and cells.vectors is not None and config.query_support_knn:
        nearest = nearest_neighbours(
            part.space.vectors, config.query_support_knn, queries=cells.vectors, exclude_self=False, metric="cosine"
        )[0].numpy(force=True)
    # The picture's own stream of random numbers, so that other queries have no influence.
    rng = np.random.default_rng([part.seed, zlib.crc32(cells.key.encode()), 1])
    left = len(part.order) - nearest.shape[1]
    drawn = skip(draw_distinct(rng, left, min(config.query_support_random, left), n), nearest)
    src = part.order[np.concatenate([nearest, drawn], axis=1)]  # (n, k + r)
    kind = np.full(src.shape, EdgeKind.QUERY_SUPPORT_RANDOM, dtype=np.uint8)
    kind[:, : nearest.shape[1]] = EdgeKind.QUERY_SUPPORT_KNN
    dst = np.broadcast_to(np.arange(cells.first, cells.first + n)[:, None], src.shape)
    return EdgeBlock.of(src, dst, kind, cells.rgbxy.device, one_way=True)


def query_block(cells: Cells, config: GraphConfig) -> EdgeBlock:
    """From the nearest other nodes of the same picture by cosine, besides those on the lattice.

    The edges are directed: every node hears `query_query_knn` others, and is heard by any number.
    """
    wanted, device = config.query_query_knn, cells.rgbxy.device
    empty = np.empty(0, dtype=np.int64)
    if not wanted or cells.vectors is None:
        return EdgeBlock.of(empty, empty, EdgeKind.QUERY_QUERY_KNN, device, one_way=False)
    dilations = check_dilations(cells.height, cells.width, config.dilations)
    excluded = config.connectivity * len(dilations)
    found = nearest_neighbours(cells.vectors, wanted + excluded, metric="cosine")[0].numpy(force=True)
    node = np.arange(len(cells))[:, None]
    down = np.abs(found // cells.width - node // cells.width)
    across = np.abs(found % cells.width - node % cells.width)
    straight = np.minimum(down, across) == 0
    lattice = straight | (down == across) if config.connectivity == 8 else straight
    free = ~(lattice & np.isin(np.maximum(down, across), dilations))
    kept = free & (free.cumsum(axis=1) <= wanted)
    dst = np.broadcast_to(node, found.shape)[kept] + cells.first
    return EdgeBlock.of(found[kept] + cells.first, dst, EdgeKind.QUERY_QUERY_KNN, device, one_way=False)
