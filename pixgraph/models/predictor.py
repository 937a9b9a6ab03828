"""What evaluation, prediction and the report ask of a method: class probabilities for the queries of one task."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from pixgraph.data.picture import FewShotTask


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
            task: N ways; supports with labels 0..N and 255, queries, possibly unlabelled pictures.

        Returns:
            For each query, in order, the probabilities of background and the N classes: (N+1, H, W) float32 at the
            working size of the query's picture, at least 0, summing to one over the first axis.
        """
