"""Losses of the node embeddings of a task graph whose labels training knows."""

from __future__ import annotations

import numpy as np
import torch

from pixgraph.config import LossConfig
from pixgraph.data.picture import FewShotTask
from pixgraph.graph.backend import Graph
from pixgraph.graph.support import SUPPORT
from pixgraph.losses.pixel_gnn import draw_partners, pixel_gnn_chance, pixel_gnn_contrast
from pixgraph.losses.self_prediction import self_prediction, self_prediction_chance
from pixgraph.losses.supcon import supervised_chance, supervised_contrast
from pixgraph.losses.term import Term
from pixgraph.models.network import Output
from pixgraph.models.nodes import node_grids

CONTRAST_QUERY_NODES = 256
"""Query nodes that take part in the supervised contrast, beside all support nodes."""


def node_contrast(output: Output, graph: Graph, task: FewShotTask, weights: LossConfig, seed: int) -> Term:
    """Supervised contrast between the support nodes and some query nodes, whose labels training knows.

    Args:
        output: Gives the embeddings.
        graph: The task graph.
        task: Its queries' labels are read.
        weights: Form and temperature.
        seed: Seed of the choice of query nodes, and of partners where the form draws them.
    """
    label = graph.ndata["label"].clone()
    first = int((graph.ndata["role"] == SUPPORT).sum())
    known = [torch.arange(first, device=label.device)]
    rng = np.random.default_rng([seed, 1])
    for query, grid in zip(task.query, node_grids(graph, task), strict=False):
        nodes = grid.first + torch.from_numpy(rng.permutation(len(grid))[:CONTRAST_QUERY_NODES]).to(label.device)
        if query.label is not None:
            label[grid.nodes] = grid.labels(query.label)
            known.append(nodes)
    chosen = torch.cat(known)
    embedding, label = output.embedding[chosen], label[chosen]
    if weights.supcon_form == "pixel_gnn":
        draws = draw_partners(label, rng)
        return Term(pixel_gnn_contrast(embedding, draws, weights.temperature), pixel_gnn_chance(draws))
    return Term(supervised_contrast(embedding, label, weights.temperature), supervised_chance(label))


def support_self_prediction(output: Output, graph: Graph, weights: LossConfig) -> Term:
    """How well the label of each support node is told from the other support nodes in the learnt metric."""
    support = graph.ndata["role"] == SUPPORT
    label = graph.ndata["label"][support]
    picture = graph.ndata["image"][support] if weights.self_prediction_from == "other_pictures" else None
    loss = self_prediction(output.embedding[support], label, weights.temperature, picture)
    return Term(loss, self_prediction_chance(label, picture))
