"""The task graph: support nodes, all query nodes on a lattice, and the edges that carry labels across."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pixgraph.config import GraphConfig
from pixgraph.data.base import IGNORE
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.errors import DataError
from pixgraph.graph.attention import dgl_is_asked_for
from pixgraph.graph.backend import Graph, make_graph
from pixgraph.graph.checks import check_fits
from pixgraph.graph.edge_blocks import EdgeArrays, EdgeBlock, ReadyEdges, written
from pixgraph.graph.edgegraph import EdgeGraph
from pixgraph.graph.embedding import Embedding
from pixgraph.graph.pattern import LARGEST, set_pattern
from pixgraph.graph.picture_nodes import PictureNodes, alike_block, count_nodes, neighbour_block, picture_nodes
from pixgraph.graph.query_edges import support_block
from pixgraph.graph.support import QUERY, SUPPORT, UNLABELLED, SupportPart, support_part
from pixgraph.graph.unlabelled import unlabelled_block


def task_graph(task: FewShotTask, config: GraphConfig, seed: int = 0, embedding: Embedding | None = None) -> Graph:
    """The graph of a few-shot task.

    Nodes: support nodes (picture by picture, row-major in each), then the cells of the queries, row by row, then those
    of the unlabelled pictures, which have the same edges as queries. The label of a query is never read. With
    `config.nodes` "segments" they are the labelled segments of the supports, and all segments of the other pictures.

    Edges point to the node that receives the message: support and lattice edges exist in both directions, the edges
    between support and query, and between unlabelled picture and query, in both if `config.both_ways`, otherwise only
    towards the query (or unlabelled) node.

    Args:
        task: Supports, queries and unlabelled pictures; queries and unlabelled ones of any size that `stride` divides.
        config: Counts of nodes and edges.
        seed: Seed of everything random.
        embedding: ``(picture, xy (n, 2)) -> (n, D)`` for nearest neighbours; `None`: `node_embedding`.

    Returns:
        Graph with ndata ``rgbxy`` (V, 5) float32, ``image`` (V,) int64 (supports, queries and unlabelled pictures
        counted through), ``role`` (V,) uint8, ``label`` (V,) int64 (0..N, and 255 for all but support nodes), with
        segments also ``segments`` (V,) int64, `config.segments`, which tells the model how to cut the pictures, and
        edata ``feature`` (E, 3) float32, ``kind`` (E,) uint8 (`EdgeKind`).

    Raises:
        ConfigError: A setting is out of range or does not fit the pictures, or the graph would have more than 2**31 - 1
            edges or not fit into memory.
        DataError: No support or query, a support without known pixels, or colours or features that are not finite.
    """
    return attach_queries(support_part(task.support, config, seed, embedding), task.query, task.unlabelled)


def attach_queries(
    part: SupportPart, queries: Sequence[Picture], unlabelled: Sequence[Picture] = (), support_edges: bool = True
) -> Graph:
    """`task_graph` from a support part that already exists; same result, same errors.

    Without `support_edges` the edges among support nodes are left out, for a method that remembers their states. Such a
    graph serves a few milliseconds, so it is an `EdgeGraph`, which takes half a millisecond less than one of DGL's,
    unless `PIXGRAPH_ENGINE` asks for DGL, or there are so many edges that DGL sorts them faster.

    A query's edges depend on the supports, the seed, the unlabelled pictures and the query alone, not on the other
    queries, so that queries may be attached one at a time.
    """
    if not queries:
        raise DataError("task graph: got no query picture, expected at least one")
    cells = _all_cells(part, [*queries, *unlabelled])
    blocks = _blocks(part, cells, len(queries), support_edges)
    ndata = _node_data(part, cells, len(queries))
    del cells  # the vectors are not needed any more, and the edges take as much memory
    edges = written(blocks, ndata["rgbxy"].T.contiguous(), part.config)
    nodes = len(ndata["label"])
    light = not support_edges and len(edges.src) <= LARGEST and not dgl_is_asked_for()
    made = EdgeGraph if light else make_graph
    graph = made(edges.src, edges.dst, nodes, ndata, {"feature": edges.feature, "kind": edges.kind})
    patterns = [None if part.config.both_ways and block.one_way else block.pattern for block in blocks]
    if None not in patterns:
        set_pattern(graph, (nodes, *patterns))
    return graph


def _all_cells(part: SupportPart, pictures: Sequence[Picture]) -> list[PictureNodes]:
    """The nodes of all pictures but the supports, after a look at whether the graph will fit."""
    config = part.config
    counts = [count_nodes(p, config) for p in pictures]
    check_fits(len(part.label), sum(counts), config, part.rgbxy.device)
    searched = max(config.query_support_knn, config.query_query_knn, config.unlabelled_knn) > 0
    first, cells = len(part.label), list[PictureNodes]()
    for picture, count in zip(pictures, counts, strict=True):
        cells.append(picture_nodes(picture, config, first, part.space if searched else None))
        first += count
    return cells


def _blocks(part: SupportPart, cells: Sequence[PictureNodes], num_queries: int, support_edges: bool) -> list[EdgeBlock]:
    """The edges, still to be written: the supports' own, then picture by picture."""
    config, blocks = part.config, list[EdgeBlock | None]()
    if support_edges:
        blocks.append(ReadyEdges(EdgeArrays(part.src, part.dst, part.kind, part.feature)))
    for i, c in enumerate(cells):
        blocks += [neighbour_block(c, config), support_block(part, c)]
        if i < num_queries:
            blocks += [alike_block(c, config), unlabelled_block(c, cells[num_queries:], config)]
    return [block for block in blocks if block is not None]


def _node_data(part: SupportPart, cells: Sequence[PictureNodes], num_queries: int) -> dict[str, torch.Tensor]:
    """The data of all nodes; everything but a support node has the label 255."""
    device, pictures = part.rgbxy.device, len(part.shortfall)
    ends = [cells[num_queries - 1].first + len(cells[num_queries - 1]), cells[-1].first + len(cells[-1])]
    label = torch.full((ends[1],), IGNORE, device=device)
    label[: len(part.label)] = part.label
    role = torch.full((ends[1],), UNLABELLED, dtype=torch.uint8, device=device)
    role[: ends[0]] = QUERY
    role[: len(part.label)] = SUPPORT
    image = [part.image, *(torch.full((len(c),), pictures + i, device=device) for i, c in enumerate(cells))]
    ndata = {
        "rgbxy": torch.cat([part.rgbxy, *(c.rgbxy for c in cells)]),
        "image": torch.cat(image),
        "role": role,
        "label": label,
    }
    if part.config.nodes == "segments":
        ndata["segments"] = torch.full_like(label, part.config.segments)
    return ndata
