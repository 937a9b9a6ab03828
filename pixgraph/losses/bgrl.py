"""Unsupervised node contrast without negatives, between two views of the same nodes."""

from __future__ import annotations

import torch
import torch.nn.functional as F

CHANCE = 2.0
"""The loss of directions that have nothing to do with each other."""


def bootstrap_loss(
    first: torch.Tensor, second: torch.Tensor, first_target: torch.Tensor, second_target: torch.Tensor
) -> torch.Tensor:
    """BGRL (Thakoor et al. 2022) in its symmetric form, counted from its optimum.

        L = (1/n) sum_i [ 2 - cos(q(u_i), sg(v'_i)) - cos(q(v_i), sg(u'_i)) ]

    with u, v the online embeddings of the two views, u', v' those of the target encoder, q the predictor and sg no
    gradient. In 0..4; `CHANCE` = 2 for unrelated directions. 0 is both the optimum and collapse: the value alone says
    nothing, `pixgraph.losses.term.embedding_std` has to be watched beside it.

    Args:
        first: (n, D) predictions q(u) from the first view, of any length.
        second: (n, D) predictions q(v) from the second view.
        first_target: (n, D) target embeddings u' of the first view; gets no gradient.
        second_target: (n, D) target embeddings v' of the second view; gets no gradient.

    Returns:
        A scalar; zero (with gradient zero) for no node.

    Raises:
        ValueError: The shapes differ.
    """
    shapes = [tuple(x.shape) for x in (first, second, first_target, second_target)]
    if len(set(shapes)) > 1:
        raise ValueError(f"bootstrap_loss: got shapes {', '.join(map(str, shapes))}, expected the same for all four")
    if not len(first):
        return (first.sum() + second.sum()) * 0.0
    exact = torch.promote_types(first.dtype, torch.float32)  # half precision is too coarse for the mean
    q_u, q_v = (F.normalize(x.to(exact), dim=1) for x in (first, second))
    u, v = (F.normalize(x.detach().to(exact), dim=1) for x in (first_target, second_target))
    return (2 - (q_u * v).sum(1) - (q_v * u).sum(1)).mean()
