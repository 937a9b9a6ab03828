"""The support graph: sampled, labelled nodes of the support pictures and the typed edges among them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pixgraph.config import GraphConfig
from pixgraph.data.picture import Picture
from pixgraph.errors import DataError
from pixgraph.graph.backend import Graph, make_graph
from pixgraph.graph.checks import check_config, check_fits
from pixgraph.graph.edges import EdgeKind, edge_features, switch_features
from pixgraph.graph.embedding import Embedding, EmbeddingSpace, stacked_embedding
from pixgraph.graph.segments import segment_vectors, touching
from pixgraph.graph.support_edges import support_pairs
from pixgraph.graph.support_nodes import SupportNodes, support_nodes

SUPPORT, QUERY, UNLABELLED = 0, 1, 2
"""Values of ``ndata["role"]``."""


@dataclass(frozen=True)
class SupportPart:
    """The part of a task graph that does not depend on the queries: built once, used for any number of them.

    Attributes:
        config: How it was built.
        seed: Seed of its randomness.
        rgbxy: (S, 5) float32.
        image: (S,) int64 position of the picture in the task's supports.
        label: (S,) int64, 0..N.
        src: (E,) int64 edges, ascending by destination.
        dst: (E,) int64.
        feature: (E, 3) float32.
        kind: (E,) uint8.
        order: (S,) int64: node ids sorted by content (picture key, then pixel) rather than by the order of the
            pictures; every random choice counts along it, so that this order has no influence.
        space: Where nearest neighbours are searched; its vectors follow `order`. `None`: not needed.
        shortfall: For each picture: class (0 background) -> pixels missing of the number asked for.
    """

    config: GraphConfig
    seed: int
    rgbxy: torch.Tensor
    image: torch.Tensor
    label: torch.Tensor
    src: torch.Tensor
    dst: torch.Tensor
    feature: torch.Tensor
    kind: torch.Tensor
    order: np.ndarray
    space: EmbeddingSpace | None
    shortfall: tuple[dict[int, int], ...]

    def __repr__(self) -> str:
        return f"SupportPart(pictures={len(self.shortfall)}, nodes={len(self.label)}, edges={len(self.src)})"

    def graph(self) -> Graph:
        """The support nodes and their edges alone, with the data of a task graph."""
        role = torch.full_like(self.label, SUPPORT, dtype=torch.uint8)
        ndata = {"rgbxy": self.rgbxy, "image": self.image, "role": role, "label": self.label}
        if self.config.nodes == "segments":
            ndata["segments"] = torch.full_like(self.label, self.config.segments)
        return make_graph(self.src, self.dst, len(self.label), ndata, {"feature": self.feature, "kind": self.kind})


def support_graph(
    pictures: Sequence[Picture], config: GraphConfig, seed: int = 0, embedding: Embedding | None = None
) -> Graph:
    """The graph of the labelled nodes of the support pictures.

    Args:
        pictures: Labelled pictures, all of one size.
        config: Counts of nodes and edges.
        seed: Seed of the node and edge sampling.
        embedding: Where foreground nodes look for nearest neighbours; `None`: `node_embedding`.

    Returns:
        Graph with ndata ``rgbxy`` (S, 5), ``image``, ``role``, ``label`` (S,) and edata ``feature`` (E, 3),
        ``kind`` (E,), of the types that `task_graph` describes.

    Raises:
        DataError: No picture, one without a label, or none with a known pixel.
        ConfigError: A setting is out of range, or the graph would not fit into memory.
    """
    return support_part(pictures, config, seed, embedding).graph()


def support_part(
    pictures: Sequence[Picture], config: GraphConfig, seed: int = 0, embedding: Embedding | None = None
) -> SupportPart:
    """`support_graph` in the form that `attach_queries` continues. Same arguments and errors."""
    check_config(config)
    nodes = [support_nodes(p, config, seed) for p in pictures]
    total = sum(map(len, nodes))
    if total == 0:
        raise DataError(
            f"support: {len(nodes)} pictures give no node, expected labelled pixels;"
            " mark some foreground and background, or raise num_fg and num_bg"
        )
    vectors = sum(f.shape[0] for f in pictures[0].features) * 8  # bytes of a node's, and of a copy
    check_fits(total, 0, config, pictures[0].rgb.device, total * vectors)
    rgbxy = torch.cat([n.rgbxy for n in nodes])
    image = np.repeat(np.arange(len(nodes)), [len(n) for n in nodes])
    label = np.concatenate([n.label for n in nodes])
    ranked = sorted(range(len(nodes)), key=lambda i: (pictures[i].key, nodes[i].mark))
    place = np.argsort(ranked)
    order = np.argsort(place[image], kind="stable")  # (S,)
    space = _space(pictures, nodes, ranked, config, embedding)
    rng = np.random.default_rng([seed, zlib.crc32("\n".join(pictures[i].key for i in ranked).encode())])
    low, high, kind = support_pairs(
        place[image[order]], label[order] > 0, None if space is None else space.vectors, config, rng
    )
    a, b, kind = order[np.concatenate([low, high])], order[np.concatenate([high, low])], np.concatenate([kind, kind])
    a, b, kind = _with_adjacent(a, b, kind, nodes)
    by_destination = np.argsort(b * len(order) + a)
    device = rgbxy.device
    src, dst, kinds, labels, images = (
        torch.from_numpy(x).to(device)
        for x in (a[by_destination], b[by_destination], kind[by_destination], label, image)
    )
    feature = switch_features(edge_features(rgbxy, images, src, dst, config.color), config)
    shortfall = tuple(n.shortfall for n in nodes)
    return SupportPart(config, seed, rgbxy, images, labels, src, dst, feature, kinds, order, space, shortfall)


def _with_adjacent(
    src: np.ndarray, dst: np.ndarray, kind: np.ndarray, nodes: Sequence[SupportNodes]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The edges (E,), and those between segments that touch in their picture and are not joined yet."""
    first, ends = 0, list[np.ndarray]()
    for picture in nodes:
        if picture.segments is not None:
            ends.append(first + np.stack([x.cpu().numpy() for x in touching(picture.segments)]))
        first += len(picture)
    if not ends:
        return src, dst, kind
    more = np.concatenate(ends, axis=1)  # (2, E')
    more = more[:, ~np.isin(more[1] * first + more[0], dst * first + src)]
    kinds = np.full(more.shape[1], EdgeKind.LATTICE, kind.dtype)
    return np.concatenate([src, more[0]]), np.concatenate([dst, more[1]]), np.concatenate([kind, kinds])


def _space(
    pictures: Sequence[Picture],
    nodes: Sequence[SupportNodes],
    ranked: list[int],
    config: GraphConfig,
    embedding: Embedding | None,
) -> EmbeddingSpace | None:
    """The nodes' vectors in the order of `ranked` pictures, reduced; `None` if nothing asks for them."""
    nearest = config.fg_fg > 0 and config.fg_fg_mode == "nearest"
    if not nearest and max(config.query_support_knn, config.query_query_knn, config.unlabelled_knn) == 0:
        return None
    xy = [n.rgbxy[:, 3:] for n in nodes]
    if embedding is not None:
        vectors = torch.cat([embedding(pictures[i], xy[i]).detach().float() for i in ranked])
    elif config.nodes == "segments":
        cut = ((pictures[i], nodes[i].segments) for i in ranked)
        vectors = torch.cat([segment_vectors(p, s, config.knn_level) for p, s in cut if s is not None])
    else:
        vectors = stacked_embedding([pictures[i] for i in ranked], [xy[i] for i in ranked], config.knn_level)
    return EmbeddingSpace.fit(vectors, embedding, config.knn_level)
