"""Unsupervised node losses: two stochastic views of the lattice of single pictures, whose labels are not read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from pixgraph.config import Config, LossConfig
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.errors import ConfigError
from pixgraph.graph.augment import drop_edges, mask_features
from pixgraph.graph.backend import Graph, make_graph
from pixgraph.graph.edge_blocks import written
from pixgraph.graph.picture_nodes import neighbour_block, picture_nodes
from pixgraph.graph.segments import SegmentNodes
from pixgraph.losses.bgrl import CHANCE, bootstrap_loss
from pixgraph.losses.infonce import infonce_chance, node_infonce
from pixgraph.losses.term import Term, mean_term
from pixgraph.models.encoder import COLOR_POSITION, NodeEncoder
from pixgraph.models.levels import level_statistics, standardise
from pixgraph.models.network import PixGraphNet
from pixgraph.models.places import NodeGrid, NodeSegments, PicturePlace

EDGE_DROP = 0.3
FEATURE_MASK = 0.3

CHUNK = 1024
"""Nodes beyond which similarities are compared in pieces: the same numbers in less memory."""


class View(NamedTuple):
    """A stochastic view of a picture's lattice.

    Attributes:
        graph: The lattice with some edges left out.
        keep: (1, C + 5) factors of the encoder's input columns, 0 or 1.
    """

    graph: Graph
    keep: torch.Tensor


def contrasted_pictures(task: FewShotTask, weights: LossConfig) -> list[Picture]:
    """The pictures whose nodes the unsupervised loss reads: the unlabelled ones, or also supports and queries."""
    return [*task.unlabelled, *((*task.support, *task.query) if weights.unsup_nodes == "all" else ())]


def view_contrast(network: PixGraphNet, task: FewShotTask, config: Config, seed: int) -> Term | None:
    """GRACE's or BGRL's loss on the encoder: edges dropped and feature columns masked, independently in two views.

    Node ids stay, so that the same node is its own positive. GRACE contrasts `loss.unsup_anchors` nodes a picture.

    Args:
        network: With a target encoder for the form "bgrl".
        task: Any of its pictures may be read, none of its labels.
        config: `graph` for the lattice, `loss` for the form.
        seed: Seed of both views and of the choice of nodes.

    Returns:
        The mean over the pictures; `None` when the task has none to read.

    Raises:
        ConfigError: The form is "bgrl" and the network has no target encoder.
    """
    rng = np.random.default_rng([seed, 2])
    terms = []
    for picture in contrasted_pictures(task, config.loss):
        graph, grid = lattice_graph(picture, config)
        maps = [standardise(picture, level_statistics([picture]))]
        chosen = rng.permutation(graph.num_nodes())[: config.loss.unsup_anchors]
        views = [_view(graph, network.config.width, rng) for _ in range(2)]
        first, second = (_embed(network, view, maps, grid) for view in views)
        if config.loss.unsup_form == "bgrl":
            terms.append(_bootstrap(network, first, second, views, maps, grid))
            continue
        nodes = torch.from_numpy(chosen).to(first.device)
        chunk = CHUNK if len(nodes) > CHUNK else None
        loss = node_infonce(first[nodes], second[nodes], config.loss.temperature, chunk)
        terms.append(Term(loss, infonce_chance(len(nodes))))
    return mean_term(terms) if terms else None


def lattice_graph(picture: Picture, config: Config) -> tuple[Graph, PicturePlace]:
    """The query lattice of one picture alone, with the node data that the encoder reads."""
    cells = picture_nodes(picture, config.graph, 0, None)
    edges = written([neighbour_block(cells, config.graph)], cells.rgbxy.T.contiguous(), config.graph)
    ndata = {"rgbxy": cells.rgbxy, "image": torch.zeros(len(cells), dtype=torch.int64, device=picture.rgb.device)}
    graph = make_graph(edges.src, edges.dst, len(cells), ndata, {"feature": edges.feature})
    if isinstance(cells, SegmentNodes):
        return graph, NodeSegments(0, cells.segments)
    return graph, NodeGrid(0, cells.height, cells.width)


def _view(graph: Graph, width: int, rng: np.random.Generator) -> View:
    keep = mask_features(torch.ones(1, width + COLOR_POSITION, device=graph.device), FEATURE_MASK, rng)
    return View(drop_edges(graph, EDGE_DROP, rng), keep)


def _embed(encoder: NodeEncoder, view: View, maps: list[list[torch.Tensor]], grid: PicturePlace) -> torch.Tensor:
    """Metric embeddings (V, D) of a view."""
    return encoder.embed(encoder.encode(view.graph, [], [], maps, [grid], view.keep)[-1])


def _bootstrap(
    network: PixGraphNet,
    first: torch.Tensor,
    second: torch.Tensor,
    views: list[View],
    maps: list[list[torch.Tensor]],
    grid: PicturePlace,
) -> Term:
    """BGRL's loss of all nodes, with their embeddings (V, D) in either view."""
    if network.target is None or network.predictor is None:
        raise ConfigError("loss.unsup_form: got bgrl, but the network has no target encoder; set model.target to true")
    with torch.no_grad():
        targets = [_embed(network.target, view, maps, grid) for view in views]
    return Term(bootstrap_loss(network.predictor(first), network.predictor(second), *targets), CHANCE)
