"""A loss together with what it is when nothing was learnt."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Term(NamedTuple):
    """One term of the loss of an episode.

    A curve that sits at its chance value means that nothing was learnt.

    Attributes:
        value: A scalar.
        chance: The same loss for embeddings that are all equal (contrasts), for logits of zero (segmentation), or for
            directions that have nothing to do with each other (losses without negatives).
    """

    value: torch.Tensor
    chance: float

    def weighted(self, weight: float) -> Term:
        """Both numbers times `weight`, so that the curves compare."""
        return Term(weight * self.value, weight * self.chance)


def mean_term(terms: list[Term]) -> Term:
    """The mean of several terms, of their chance values too."""
    return Term(torch.stack([t.value for t in terms]).mean(), sum(t.chance for t in terms) / len(terms))


def embedding_std(unit: torch.Tensor) -> float:
    """Mean over the dimensions of the standard deviation of unit embeddings over the nodes.

    0 when all are equal (collapse), 1 / sqrt(D) when they point everywhere alike; what to watch beside a loss without
    negatives, whose optimum collapse is.

    Args:
        unit: (n, D) of unit length; no nodes give 0.

    Example:
        >>> embedding_std(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        0.5
    """
    exact = unit.detach().to(torch.promote_types(unit.dtype, torch.float32))
    return exact.std(0, correction=0).mean().item() if len(unit) else 0.0
