"""Edges of query nodes. No label has any part in them."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from pixgraph.config import GraphConfig
from pixgraph.graph.block_neighbours import block_neighbours
from pixgraph.graph.cells import Cells
from pixgraph.graph.edge_blocks import ListedEdges, PartnerEdges
from pixgraph.graph.edges import EdgeKind
from pixgraph.graph.lattice import check_dilations
from pixgraph.graph.neighbours import nearest_neighbours
from pixgraph.graph.partners import draw_distinct, skip
from pixgraph.graph.segments import SegmentNodes
from pixgraph.graph.support import SupportPart


def support_block(part: SupportPart, cells: Cells | SegmentNodes) -> PartnerEdges:
    """From the support: the nearest nodes of each query node by cosine, and random others, all distinct.

    With `knn_block` above 1 the nearest of a cell are those that `block_neighbours` finds. A node's edges follow each
    other, nearest first. If there are fewer support nodes than wanted, all are taken.
    """
    config, n = part.config, len(cells)
    nearest = _nearest(part, cells)
    left = len(part.order) - nearest.shape[1]
    count, chosen = min(config.query_support_random, left), nearest
    if count:
        # The picture's own stream of random numbers, so that other queries have no influence.
        rng = np.random.default_rng([part.seed, zlib.crc32(cells.key.encode()), 1])
        chosen = np.concatenate([nearest, skip(draw_distinct(rng, left, count, n), nearest)], axis=1)
    partners = torch.from_numpy(part.order[chosen])  # (n, k + r)
    kinds = ((EdgeKind.QUERY_SUPPORT_KNN, nearest.shape[1]), (EdgeKind.QUERY_SUPPORT_RANDOM, count))
    return PartnerEdges(partners.to(cells.rgbxy.device), cells.first, kinds)


def _nearest(part: SupportPart, cells: Cells | SegmentNodes) -> np.ndarray:
    """Positions in `part.order` of the nearest support nodes, (n, k) int64, nearest first."""
    k, block = min(part.config.query_support_knn, len(part.order)), part.config.knn_block
    if part.space is None or cells.vectors is None or k == 0:
        return np.empty((len(cells), 0), dtype=np.int64)
    points = part.space.vectors
    if block > 1 and isinstance(cells, Cells):
        found = block_neighbours(points, cells.vectors, (cells.height, cells.width), k, block)
    else:
        found = nearest_neighbours(points, k, queries=cells.vectors, exclude_self=False, metric="cosine")[0]
    return found.numpy(force=True)


def query_block(cells: Cells, config: GraphConfig) -> ListedEdges | None:
    """From the nearest other nodes of the same picture by cosine, besides those on the lattice.

    The edges are directed: every node hears `query_query_knn` others, and is heard by any number. `None` if none is
    wanted.
    """
    wanted = config.query_query_knn
    if not wanted or cells.vectors is None:
        return None
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
    ends = found[kept] + cells.first, np.broadcast_to(node, found.shape)[kept] + cells.first
    src, dst = (torch.from_numpy(x).to(cells.rgbxy.device) for x in ends)
    return ListedEdges(src, dst, EdgeKind.QUERY_QUERY_KNN)
