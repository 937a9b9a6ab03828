"""What evaluation, prediction and the report ask of a method: class probabilities for the queries of one task."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.config import GraphConfig
from pixgraph.data.picture import FewShotTask
from pixgraph.graph.support import SupportPart, support_part
from pixgraph.graph.task import attach_queries
from pixgraph.models.completion import MarkCompleter
from pixgraph.models.network import PixGraphNet, SupportMemory
from pixgraph.models.support_key import SupportKey, TensorsKey


@runtime_checkable
class Predictor(Protocol):
    """A method that segments the queries of a few-shot task from its labelled supports.

    Attributes:
        name: Short name of the method, as tables show it, e.g. ``"prototype"``.
    """

    @property
    def name(self) -> str:
        """Short name of the method."""

    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        """Segment every query of `task`; never reads a query's label, and the same task always gives the same answer.

        Args:
            task: N ways; supports with labels 0..N, 254 (not marked) and 255, queries, possibly unlabelled pictures.

        Returns:
            For each query, in order, the probabilities of background and the N classes: (N+1, H, W) float32 at the
            working size of the query's picture, at least 0, summing to one over the first axis.
        """


class GraphPredictor:
    """The trained GNN as a predictor.

    Args:
        network: A trained network; used in evaluation mode.
        config: How graphs are built; the stride may differ from that of the training.
        seed: Seed of node and edge sampling.
    """

    name = "graph"

    def __init__(self, network: PixGraphNet, config: GraphConfig, seed: int = 0) -> None:
        self.network, self.config, self.seed = network, config, seed
        self._complete = MarkCompleter()
        self._supports: tuple[SupportKey, TensorsKey, SupportPart, SupportMemory | None] | None = None

    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        """Class probabilities of every query, see `Predictor.predict`."""
        return [found.clone() for found in self._predict(task)]  # ordinary tensors, which may be changed in place

    @torch.inference_mode()
    def _predict(self, task: FewShotTask) -> list[torch.Tensor]:
        modules = list(self.network.modules())
        if any(module.training for module in modules):  # to say it to all of them takes a millisecond
            self.network.eval()
        key = SupportKey(task)  # of the labels as they are given, which decide how they are completed
        task = self._complete(task, key)
        part, memory = self._known(task, key, modules)
        # Without edges that lead from them to the query, unlabelled pictures change nothing.
        around = task.unlabelled if self.config.unlabelled_knn or self.config.both_ways else []
        found = []
        for query in task.query:
            graph = attach_queries(part, [query], around, support_edges=memory is None)
            one = FewShotTask(task.n_way, task.support, [query], around)
            found.append(class_probabilities(self.network(graph, one, memory).logits[0], query.rgb.shape[-2:]))
        return found

    def _known(
        self, task: FewShotTask, key: SupportKey, modules: list[nn.Module]
    ) -> tuple[SupportPart, SupportMemory | None]:
        """What the supports give, kept while the same pictures with the same labels come again to the same weights."""
        weights = TensorsKey(p for module in modules for p in module._parameters.values())
        if self._supports is None or self._supports[0] != key or self._supports[1] != weights:
            part = support_part(task.support, self.config, self.seed)
            memory = None if self.config.both_ways else self.network.remember(part.graph(), task)
            self._supports = (key, weights, part, memory)
        return self._supports[2:]


def class_probabilities(logits: torch.Tensor, size: torch.Size | tuple[int, int]) -> torch.Tensor:
    """Softmax of the class logits and a background of zero, at the size of the picture.

    Args:
        logits: (N, h, w).
        size: Height and width in pixels.

    Returns:
        (N+1, height, width) float32, summing to one over the first axis.
    """
    full = F.interpolate(logits[None].float(), tuple(size), mode="bilinear", align_corners=False)[0]
    return torch.softmax(torch.cat([torch.zeros_like(full[:1]), full]), 0)
