"""The task graph: support nodes, all query nodes on a lattice, and the edges that carry labels across."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.config import GraphConfig
from pixgraph.data.base import IGNORE
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.errors import DataError
from pixgraph.graph.backend import Graph, make_graph
from pixgraph.graph.checks import check_memory, estimate_bytes, grid_size
from pixgraph.graph.edges import EdgeKind, edge_features, lattice_features
from pixgraph.graph.embedding import Embedding
from pixgraph.graph.lattice import check_dilations, lattice_edges
from pixgraph.graph.neighbours import nearest_neighbours
from pixgraph.graph.partners import draw_distinct, skip
from pixgraph.graph.support import QUERY, SUPPORT, UNLABELLED, SupportPart, support_part


@dataclass(frozen=True)
class Cells:
    """The grid of nodes of one picture without a label.

    Attributes:
        rgbxy: (n, 5) float32, row by row.
        height: Rows.
        width: Columns.
        first: Id of its first node in the task graph.
        vectors: (n, d) float32 in the support's embedding space; `None` if not needed.
    """

    rgbxy: torch.Tensor
    height: int
    width: int
    first: int
    vectors: torch.Tensor | None


def task_graph(task: FewShotTask, config: GraphConfig, seed: int = 0, embedding: Embedding | None = None) -> Graph:
    """The graph of a few-shot task.

    Nodes: support nodes (picture by picture, row-major in each), then the cells of the queries, row by row, then those
    of the unlabelled pictures, which have the same edges as queries. The label of a query is never read.

    Args:
        task: Supports, queries and unlabelled pictures; queries and unlabelled ones of any size that `stride` divides.
        config: Counts of nodes and edges.
        seed: Seed of everything random.
        embedding: ``(picture, xy (n, 2)) -> (n, D)`` for nearest neighbours; `None`: `node_embedding`.

    Returns:
        Graph with ndata ``rgbxy`` (V, 5) float32, ``image`` (V,) int64 (supports, queries and unlabelled pictures
        counted through), ``role`` (V,) uint8, ``label`` (V,) int64 (0..N, and 255 for all but support nodes), and
        edata ``feature`` (E, 3) float32, ``kind`` (E,) uint8 (`EdgeKind`).

    Raises:
        ConfigError: A setting is out of range, does not fit the pictures, or the graph would not fit into memory.
        DataError: No support or query, a support without known pixels, or colours or features that are not finite.
    """
    return attach_queries(support_part(task.support, config, seed, embedding), task.query, task.unlabelled)


def attach_queries(part: SupportPart, queries: Sequence[Picture], unlabelled: Sequence[Picture] = ()) -> Graph:
    """`task_graph` from a support part that already exists.

    A query's edges depend on the supports, the seed and the query alone, not on the other queries.
    """
    if not queries:
        raise DataError("task graph: got no query picture, expected at least one")
    config, pictures = part.config, [*queries, *unlabelled]
    grids = [grid_size(p.rgb, config.stride) for p in pictures]
    for height, width in grids:
        check_dilations(height, width, config.dilations)
    counts = [height * width for height, width in grids]
    check_memory(estimate_bytes(len(part.label), sum(counts), config), part.rgbxy.device)
    firsts = np.cumsum([len(part.label), *counts])
    cells = [_cells(part, p, grid, int(first)) for p, grid, first in zip(pictures, grids, firsts[:-1], strict=True)]
    edges = [_Edges(part.src, part.dst, part.kind, part.feature)]
    for picture, c in zip(pictures, cells, strict=True):
        edges += [_lattice(c, config), _to_support(part, picture, c)]
    total, device = int(firsts[-1]), part.rgbxy.device
    ndata = {
        "rgbxy": torch.cat([part.rgbxy, *(c.rgbxy for c in cells)]),
        "image": torch.cat([part.image, _repeat(len(part.shortfall) + np.arange(len(cells)), counts, device)]),
        "role": torch.empty(total, dtype=torch.uint8, device=device),
        "label": torch.full((total,), IGNORE, device=device),
    }
    ndata["label"][: len(part.label)] = part.label
    ndata["role"][: firsts[0]] = SUPPORT
    ndata["role"][firsts[0] : firsts[len(queries)]] = QUERY
    ndata["role"][firsts[len(queries)] :] = UNLABELLED
    return _assemble(ndata, edges, config)


@dataclass(frozen=True)
class _Edges:
    """Edges of some kinds; features that are not there yet are `None`."""

    src: torch.Tensor
    dst: torch.Tensor
    kind: torch.Tensor
    feature: torch.Tensor | None = None


def _repeat(values: np.ndarray, counts: list[int], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.repeat(values, counts)).to(device)


def _cells(part: SupportPart, picture: Picture, grid: tuple[int, int], first: int) -> Cells:
    """The nodes of a picture, with vectors where neighbours will be searched."""
    height, width = grid
    stride = part.config.stride
    rgb = picture.rgb if stride == 1 else F.avg_pool2d(picture.rgb, stride)
    rgbxy = torch.empty(height * width, 5, device=rgb.device)
    rgbxy[:, :3] = rgb.reshape(3, -1).T
    if not torch.isfinite(rgbxy[:, :3]).all():
        raise DataError(f"picture {picture.key!r}: got NaN or infinite colours, expected RGB in 0..1")
    rgbxy[:, 3] = _centres(width, stride, rgb.device).repeat(height)
    rgbxy[:, 4] = _centres(height, stride, rgb.device).repeat_interleave(width)
    config = part.config
    needed = max(config.query_support_knn, config.query_query_knn, config.unlabelled_knn) > 0
    vectors = part.space.grid(picture, height, width, rgbxy[:, 3:]) if needed and part.space is not None else None
    return Cells(rgbxy, height, width, first, vectors)


def _centres(count: int, stride: int, device: torch.device) -> torch.Tensor:
    """Cell centres along a side, in pixels divided by (side - 1)."""
    pixel = torch.arange(count, device=device, dtype=torch.float32) * stride + (stride - 1) / 2
    return pixel / max(count * stride - 1, 1)


def _lattice(cells: Cells, config: GraphConfig) -> _Edges:
    """The lattice of one picture."""
    dilations = check_dilations(cells.height, cells.width, config.dilations)
    src, dst = (x.to(cells.rgbxy.device) + cells.first for x in lattice_edges(cells.height, cells.width, dilations))
    rgb = cells.rgbxy[:, :3].reshape(cells.height, cells.width, 3)
    # Neighbouring centres are one stride apart: stride / (side - 1).
    steps = tuple(config.stride / max(side * config.stride - 1, 1) for side in (cells.height, cells.width))
    kind = torch.full_like(src, EdgeKind.LATTICE, dtype=torch.uint8)
    return _Edges(src, dst, kind, lattice_features(rgb, (steps[0], steps[1]), dilations, config.color))


def _to_support(part: SupportPart, picture: Picture, cells: Cells) -> _Edges:
    """Nearest and random support partners of each node, all distinct."""
    config, n, size = part.config, len(cells.rgbxy), len(part.order)
    nearest = np.empty((n, 0), dtype=np.int64)
    if part.space is not None and cells.vectors is not None and config.query_support_knn:
        nearest, _ = nearest_neighbours(
            part.space.vectors, config.query_support_knn, queries=cells.vectors, exclude_self=False, metric="cosine"
        )
        nearest = np.asarray(nearest)
    # The picture's own stream of random numbers, so that other queries have no influence.
    rng = np.random.default_rng([part.seed, zlib.crc32(picture.key.encode()), 1])
    left = size - nearest.shape[1]
    drawn = skip(draw_distinct(rng, left, min(config.query_support_random, left), n), nearest)
    src = part.order[np.concatenate([nearest, drawn], axis=1)]  # (n, k + r)
    kind = np.empty(src.shape, dtype=np.uint8)
    kind[:, : nearest.shape[1]] = EdgeKind.QUERY_SUPPORT_KNN
    kind[:, nearest.shape[1] :] = EdgeKind.QUERY_SUPPORT_RANDOM
    dst = np.repeat(np.arange(cells.first, cells.first + n), src.shape[1])
    start, end, kinds = (torch.from_numpy(x.reshape(-1)).to(cells.rgbxy.device) for x in (src, dst, kind))
    return _Edges(start, end, kinds)


def _assemble(ndata: dict[str, torch.Tensor], edges: list[_Edges], config: GraphConfig) -> Graph:
    """Join the edges, compute the features that are missing, and add the way back where it is wanted."""
    blocks: list[tuple[torch.Tensor, ...]] = []
    for e in edges:
        feature = e.feature
        if feature is None:
            feature = edge_features(ndata["rgbxy"], ndata["image"], e.src, e.dst, config.color)
            if config.both_ways:
                blocks.append((e.dst, e.src, e.kind, feature))
        blocks.append((e.src, e.dst, e.kind, feature))
    src, dst, kind, feature = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return make_graph(src, dst, len(ndata["label"]), ndata, {"feature": feature, "kind": kind})
