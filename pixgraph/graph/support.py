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
from pixgraph.graph.cells import check_finite
from pixgraph.graph.checks import check_config, check_fits
from pixgraph.graph.edges import edge_features, switch_features
from pixgraph.graph.embedding import Embedding, EmbeddingSpace, stacked_embedding
from pixgraph.graph.sampling import SampledNodes, sample_nodes
from pixgraph.graph.support_edges import support_pairs

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
    nodes = [_sample(p, config, seed) for p in pictures]
    if sum(map(len, nodes)) == 0:
        raise DataError(
            f"support: {len(nodes)} pictures give no node, expected labelled pixels;"
            " mark some foreground and background, or raise num_fg and num_bg"
        )
    vectors = sum(f.shape[0] for f in pictures[0].features) * 8  # bytes of a node's, and of a copy
    check_fits(sum(map(len, nodes)), 0, config, pictures[0].rgb.device, sum(map(len, nodes)) * vectors)
    rgbxy = torch.cat([_pixels(p, n) for p, n in zip(pictures, nodes, strict=True)])
    image = np.repeat(np.arange(len(nodes)), [len(n) for n in nodes])
    label = np.concatenate([n.label for n in nodes])
    ranked = sorted(range(len(nodes)), key=lambda i: (pictures[i].key, _fingerprint(nodes[i])))
    place = np.argsort(ranked)
    order = np.argsort(place[image], kind="stable")  # (S,)
    space = _space(pictures, rgbxy, image, ranked, config, embedding)
    rng = np.random.default_rng([seed, zlib.crc32("\n".join(pictures[i].key for i in ranked).encode())])
    low, high, kind = support_pairs(
        place[image[order]], label[order] > 0, None if space is None else space.vectors, config, rng
    )
    a, b, kind = order[np.concatenate([low, high])], order[np.concatenate([high, low])], np.concatenate([kind, kind])
    by_destination = np.argsort(b * len(order) + a)
    device = rgbxy.device
    src, dst, kinds, labels, images = (
        torch.from_numpy(x).to(device)
        for x in (a[by_destination], b[by_destination], kind[by_destination], label, image)
    )
    feature = switch_features(edge_features(rgbxy, images, src, dst, config.color), config)
    shortfall = tuple(n.shortfall for n in nodes)
    return SupportPart(config, seed, rgbxy, images, labels, src, dst, feature, kinds, order, space, shortfall)


def _sample(picture: Picture, config: GraphConfig, seed: int) -> SampledNodes:
    """The picture's nodes."""
    if picture.label is None:
        raise DataError(f"support picture {picture.key!r} has no label; give it a mask, or pass it as unlabelled")
    return sample_nodes(picture.label, config.num_fg, config.num_bg, config.sampling, seed, picture.key)


def _fingerprint(nodes: SampledNodes) -> int:
    """Tells apart two supports of the same picture with different masks, whatever the numbers of the classes."""
    return zlib.crc32(np.stack([nodes.rows, nodes.cols, nodes.label > 0]).tobytes())


def _pixels(picture: Picture, nodes: SampledNodes) -> torch.Tensor:
    """The nodes' (n, 5) colours and coordinates."""
    height, width = picture.rgb.shape[1:]
    place = np.stack([nodes.cols / max(width - 1, 1), nodes.rows / max(height - 1, 1)], axis=1).astype(np.float32)
    index = torch.from_numpy(nodes.rows * width + nodes.cols).to(picture.rgb.device)
    rgbxy = torch.cat([picture.rgb.reshape(3, -1)[:, index].T, torch.from_numpy(place).to(picture.rgb.device)], dim=1)
    check_finite(rgbxy[:, :3], picture.key)
    return rgbxy


def _space(
    pictures: Sequence[Picture],
    rgbxy: torch.Tensor,
    image: np.ndarray,
    ranked: list[int],
    config: GraphConfig,
    embedding: Embedding | None,
) -> EmbeddingSpace | None:
    """The nodes' vectors in the order of `ranked` pictures, reduced; `None` if nothing asks for them."""
    nearest = config.fg_fg > 0 and config.fg_fg_mode == "nearest"
    if not nearest and max(config.query_support_knn, config.query_query_knn, config.unlabelled_knn) == 0:
        return None
    ends = np.cumsum(np.bincount(image, minlength=len(pictures)))
    xy = [points[:, 3:] for points in torch.tensor_split(rgbxy, torch.from_numpy(ends[:-1]))]
    if embedding is None:
        vectors = stacked_embedding([pictures[i] for i in ranked], [xy[i] for i in ranked], config.knn_level)
    else:
        vectors = torch.cat([embedding(pictures[i], xy[i]).detach().float() for i in ranked])
    return EmbeddingSpace.fit(vectors, embedding, config.knn_level)
