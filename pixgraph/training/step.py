"""The loss of one episode."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.config import Config, LossConfig
from pixgraph.data.picture import FewShotTask
from pixgraph.errors import DataError
from pixgraph.graph.augment import drop_edges
from pixgraph.graph.task import task_graph
from pixgraph.losses.segmentation import binary_cross_entropy, class_targets, soft_dice
from pixgraph.losses.term import Term, embedding_std, mean_term
from pixgraph.models.completion import complete_task
from pixgraph.models.network import Output, PixGraphNet
from pixgraph.training.node_terms import node_contrast, support_self_prediction
from pixgraph.training.views import view_contrast

LOSS_SIZE = 128
"""Side of the grid on which the final logits meet the truth: fine enough for outlines, a quarter of the pixels."""


def episode_loss(
    network: nn.Module, task: FewShotTask, config: Config, seed: int
) -> tuple[torch.Tensor, dict[str, float]]:
    """Weighted sum of the losses of an episode.

    Args:
        network: A `PixGraphNet`.
        task: Supports and queries with labels, and possibly unlabelled pictures; marked supports are completed.
        config: `loss` gives the weights, `graph` the construction.
        seed: Seed of the graph and of the contrasts' sampling.

    Returns:
        The loss, and numbers to log: each term under its name and, as ``<name>_chance``, what it is when nothing was
        learnt, both weighted; ``embedding_std``, the spread of the node embeddings, beside that of random directions.
    """
    task = complete_task(task)
    graph = task_graph(task, config.graph, seed)
    if config.graph.edge_drop:
        graph = drop_edges(graph, config.graph.edge_drop, np.random.default_rng([seed, 4]))
    output: Output = network(graph, task)
    weights = config.loss
    terms = segmentation_terms(output, task, weights)
    if weights.supcon:
        terms["supcon"] = node_contrast(output, graph, task, weights, seed).weighted(weights.supcon)
    if weights.unsup:
        contrast = view_contrast(cast(PixGraphNet, network), task, config, seed)
        if contrast is not None:
            terms["unsup"] = contrast.weighted(weights.unsup)
    if weights.self_prediction:
        predicted = support_self_prediction(output, graph, weights)
        terms["self_prediction"] = predicted.weighted(weights.self_prediction)
    loss = torch.stack([term.value for term in terms.values()]).sum()
    return loss, {**_numbers(terms), **_spread(output.embedding)}


def segmentation_terms(output: Output, task: FewShotTask, weights: LossConfig) -> dict[str, Term]:
    """Segmentation loss of the final logits, and the auxiliary one of the early logits.

    The early ones are those of the nodes, and those of the metric's evidence after each encoder block.

    Raises:
        DataError: No query has a label.
    """
    main, auxiliary = [], []
    heads = [output.node_logits, output.metric_logits, *output.stage_logits] if weights.auxiliary else []
    for i, query in enumerate(task.query):
        if query.label is None:
            continue
        final = F.interpolate(output.logits[i][None], (LOSS_SIZE, LOSS_SIZE), mode="bilinear", align_corners=False)[0]
        main.append(_segmentation(final, query.label, weights))
        if heads:
            auxiliary.append(mean_term([_segmentation(head[i], query.label, weights) for head in heads]))
    if not main:
        keys = ", ".join(repr(q.key) for q in task.query)
        raise DataError(f"training: got no label for any query ({keys}), expected at least one; pass a labelled query")
    terms = {"segmentation": mean_term(main)}
    if auxiliary:
        terms["auxiliary"] = mean_term(auxiliary).weighted(weights.auxiliary)
    return terms


def _segmentation(logits: torch.Tensor, label: torch.Tensor, weights: LossConfig) -> Term:
    target, known = class_targets(label, len(logits), (logits.shape[-2], logits.shape[-1]))

    def of(x: torch.Tensor) -> torch.Tensor:
        """Weighted sum of both losses."""
        return weights.bce * binary_cross_entropy(x, target, known) + weights.dice * soft_dice(x, target, known)

    return Term(of(logits), of(torch.zeros_like(logits)).item())


def _numbers(terms: dict[str, Term]) -> dict[str, float]:
    values = {name: term.value.item() for name, term in terms.items()}
    return {**values, **{f"{name}_chance": term.chance for name, term in terms.items()}}


def _spread(embedding: torch.Tensor) -> dict[str, float]:
    return {"embedding_std": embedding_std(embedding), "embedding_std_chance": embedding.shape[1] ** -0.5}
