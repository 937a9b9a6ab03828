"""The loss of one episode."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.config import Config, LossConfig
from pixgraph.data.picture import FewShotTask
from pixgraph.errors import DataError
from pixgraph.graph.backend import Graph
from pixgraph.graph.support import SUPPORT
from pixgraph.graph.task import task_graph
from pixgraph.losses.segmentation import binary_cross_entropy, class_targets, soft_dice
from pixgraph.losses.supcon import supervised_contrast
from pixgraph.models.network import Output
from pixgraph.training.views import unlabelled_contrast

LOSS_SIZE = 128
"""Side of the grid on which the final logits meet the truth: fine enough for outlines, a quarter of the pixels."""

CONTRAST_QUERY_NODES = 256
"""Query nodes that take part in the supervised contrast, beside all support nodes."""


def episode_loss(
    network: nn.Module, task: FewShotTask, config: Config, seed: int
) -> tuple[torch.Tensor, dict[str, float]]:
    """Weighted sum of the losses of an episode.

    Args:
        network: A `PixGraphNet`.
        task: Supports and queries with labels, and possibly unlabelled pictures.
        config: `loss` gives the weights, `graph` the construction.
        seed: Seed of the graph and of the contrasts' sampling.

    Returns:
        The loss, and each term as a number to log.
    """
    graph = task_graph(task, config.graph, seed)
    output: Output = network(graph, task)
    weights = config.loss
    terms = segmentation_terms(output, task, weights)
    if weights.supcon:
        terms["supcon"] = weights.supcon * _node_contrast(output, graph, task, weights.temperature, seed)
    if weights.unsup and task.unlabelled:
        terms["unsup"] = weights.unsup * unlabelled_contrast(network, task, config, seed)
    loss = torch.stack(list(terms.values())).sum()
    return loss, {name: term.item() for name, term in terms.items()}


def segmentation_terms(output: Output, task: FewShotTask, weights: LossConfig) -> dict[str, torch.Tensor]:
    """Segmentation loss of the final logits, and the auxiliary one of the nodes' and the metric's own logits.

    Raises:
        DataError: No query has a label.
    """
    main, auxiliary = [], []
    for i, query in enumerate(task.query):
        if query.label is None:
            continue
        final = F.interpolate(output.logits[i][None], (LOSS_SIZE, LOSS_SIZE), mode="bilinear", align_corners=False)[0]
        main.append(_segmentation(final, query.label, weights))
        if weights.auxiliary:
            early = [_segmentation(x[i], query.label, weights) for x in (output.node_logits, output.metric_logits)]
            auxiliary.append(torch.stack(early).mean())
    if not main:
        keys = ", ".join(repr(q.key) for q in task.query)
        raise DataError(f"training: got no label for any query ({keys}), expected at least one; pass a labelled query")
    terms = {"segmentation": torch.stack(main).mean()}
    if auxiliary:
        terms["auxiliary"] = weights.auxiliary * torch.stack(auxiliary).mean()
    return terms


def _segmentation(logits: torch.Tensor, label: torch.Tensor, weights: LossConfig) -> torch.Tensor:
    target, known = class_targets(label, len(logits), (logits.shape[-2], logits.shape[-1]))
    return weights.bce * binary_cross_entropy(logits, target, known) + weights.dice * soft_dice(logits, target, known)


def _node_contrast(output: Output, graph: Graph, task: FewShotTask, temperature: float, seed: int) -> torch.Tensor:
    """Supervised contrast between the support nodes and some query nodes, whose labels training knows."""
    label = graph.ndata["label"].clone()
    first = int((graph.ndata["role"] == SUPPORT).sum())
    known = [torch.arange(first, device=label.device)]
    rng = np.random.default_rng([seed, 1])
    for query, scores in zip(task.query, output.node_logits, strict=True):
        rows, columns = scores.shape[-2:]
        nodes = first + torch.from_numpy(rng.permutation(rows * columns)[:CONTRAST_QUERY_NODES]).to(label.device)
        if query.label is not None:
            centre = F.interpolate(query.label[None, None].float(), (rows, columns), mode="nearest-exact")
            label[first : first + rows * columns] = centre.long().flatten()
            known.append(nodes)
        first += rows * columns
    chosen = torch.cat(known)
    return supervised_contrast(output.embedding[chosen], label[chosen], temperature)
