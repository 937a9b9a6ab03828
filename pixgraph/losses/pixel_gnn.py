"""Supervised node contrast in the form of Pixel GNN: positives summed inside the logarithm, partners drawn."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from pixgraph.data.base import UNLABELLED

ANCHORS, POSITIVES, NEGATIVES = 256, 64, 512


class Draws(NamedTuple):
    """Nodes that are contrasted, as positions.

    Attributes:
        anchor: (A,) int64.
        positive: (A, P) int64, of the anchor's label, never the anchor itself.
        negative: (A, Q) int64, of another known label.
    """

    anchor: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor


def draw_partners(
    label: torch.Tensor,
    rng: np.random.Generator,
    anchors: int = ANCHORS,
    positives: int = POSITIVES,
    negatives: int = NEGATIVES,
) -> Draws:
    """Anchors among the foreground nodes, and for each its positives and negatives; all with replacement.

    Only a node that has both another node of its label and one of another label can be an anchor.

    Args:
        label: (n,) int64; 0 is background, 254 and 255 take no part.
        rng: Source of randomness.
        anchors: Number of anchors A; without any candidate there are none.
        positives: P.
        negatives: Q.
    """
    labels = label.cpu().numpy()
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] < UNLABELLED]  # the known nodes, label after label
    _, first, which, count = np.unique(labels[order], return_index=True, return_inverse=True, return_counts=True)
    start, size, n = first[which], count[which], len(order)  # of the run of nodes that share the label, for each node
    able = np.flatnonzero((labels[order] > 0) & (size > 1) & (size < n))
    place = able[rng.integers(len(able), size=anchors)] if len(able) else able
    begin, length, own = start[place][:, None], size[place][:, None], (place - start[place])[:, None]
    same = rng.integers(0, np.broadcast_to(length - 1, (len(place), positives)))
    other = rng.integers(0, np.broadcast_to(n - length, (len(place), negatives)))
    same = begin + same + (same >= own)  # steps over the anchor
    other = other + length * (other >= begin)  # steps over its label
    found = (torch.from_numpy(order[at]).to(label.device) for at in (place, same, other))
    return Draws(*found)


def pixel_gnn_contrast(embedding: torch.Tensor, draws: Draws, temperature: float = 0.1) -> torch.Tensor:
    """Pixel GNN's supervised loss of the anchors a with their positives p and negatives q.

        L = sum_a -(1/P) log( sum_p e^{z_a.z_p/t} / (sum_p e^{z_a.z_p/t} + sum_q e^{z_a.z_q/t}) )

    Unlike SupCon's L_out, one close positive is enough, and the anchors are summed and divided by P, so that the size
    of the loss goes with A / P. (A/P) ln((P+Q)/P) when all embeddings are equal, at least 0.

    Args:
        embedding: (n, D) of unit length.
        draws: What `draw_partners` gave.
        temperature: t > 0.

    Returns:
        A scalar; zero (with gradient zero) without anchors.
    """
    if not len(draws.anchor):
        return embedding.sum() * 0.0
    exact = torch.promote_types(embedding.dtype, torch.float32)  # half precision is too coarse for the sums
    z = embedding.to(exact)
    similarity = z[draws.anchor] @ z.T / temperature  # (A, n)
    pulled = similarity.gather(1, draws.positive).logsumexp(1)
    pushed = similarity.gather(1, draws.negative).logsumexp(1)
    return (torch.logaddexp(pulled, pushed) - pulled).sum() / draws.positive.shape[1]


def pixel_gnn_chance(draws: Draws) -> float:
    """The loss of equal embeddings, (A/P) ln((P+Q)/P)."""
    anchors, positives, negatives = len(draws.anchor), draws.positive.shape[1], draws.negative.shape[1]
    return anchors / positives * math.log((positives + negatives) / positives)
