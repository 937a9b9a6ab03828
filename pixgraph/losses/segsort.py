"""Pixel-to-segment contrast: SegSort, SegSort+, and the form for sets of tags."""

from __future__ import annotations

from typing import Literal

import torch
from torch.utils.checkpoint import checkpoint

from pixgraph.data.base import UNLABELLED
from pixgraph.losses.term import Term

LARGEST = 40.0
"""Largest concentration: exp(-2 x 40) is still a normal number of single precision."""
PAIRS = 1 << 25
"""Similarities computed at a time, where nothing else is said."""


def segsort(
    embedding: torch.Tensor,
    prototype: torch.Tensor,
    own: torch.Tensor,
    group: torch.Tensor,
    relation: torch.Tensor,
    concentration: float,
    form: Literal["segsort+", "segsort"] = "segsort+",
    chunk: int | None = None,
) -> Term:
    """The contrast of pixels with segments of SegSort (Hwang et al. 2019) and SPML (Ke et al. 2021).

    With s_ik = exp(k <e_i, P_k>), own segment c(i), and the positive and negative segments of pixel i's group,

        L = mean_i -log( num_i / (num_i + sum_{k negative} s_ik) )

    where num_i is the sum of s_ik over the positive segments but its own, "segsort+"; or s_{i,c(i)}, "segsort", and in
    "segsort+" for a pixel that has no other positive segment, told by their number. In "segsort+" the own segment is
    in neither sum otherwise. A pixel takes part when its own segment is positive to its group. Gradients flow to
    pixels and prototypes.

    Args:
        embedding: (N, D) of unit length.
        prototype: (S, D) of unit length, or zero.
        own: (N,) int64 segment of each pixel in 0 .. S - 1.
        group: (N,) int64 row of `relation` in 0 .. G - 1 that holds for the pixel.
        relation: (G, S) int8: 1 positive, -1 negative, 0 neither; see `class_relation` and `set_relation`.
        concentration: k in (0, 40].
        form: Which sum stands above.
        chunk: Pixels compared at a time: the same loss and gradient in less memory, with the similarities computed
            once more; none: as many as make `PAIRS` similarities.

    Returns:
        The loss, zero (with gradient zero) when no pixel takes part, and its value for equal embeddings: the mean of
        ln((P + Q) / P) for P other positive (at least 1; in "segsort" 1) and Q negative segments.

    Raises:
        ValueError: The concentration is out of range.
    """
    if not 0 < concentration <= LARGEST:
        raise ValueError(f"segsort: got concentration {concentration}, expected in (0, {LARGEST:g}]")
    positive, negative = relation > 0, relation < 0
    others = (positive.sum(1)[group] - 1) if form == "segsort+" else torch.zeros_like(group)  # (N,) besides its own
    taking = positive[group, own]
    opposed = negative.sum(1)[group]
    if not (taking & (opposed > 0)).any():  # every ratio is 1
        return Term((embedding.sum() + prototype.sum()) * 0.0, 0.0)
    kept = (part[taking] for part in (embedding, own, group, others, opposed))
    embedding, own, group, others, opposed = kept
    exact = torch.promote_types(embedding.dtype, torch.float32)  # half precision is too coarse for the sums
    members = torch.stack([positive, negative]).to(exact)  # (2, G, S)
    size = chunk or max(1, PAIRS // len(prototype))
    parts = []
    for i in range(0, len(own), size):
        part = slice(i, i + size)
        rows = embedding[part].to(exact), prototype.to(exact), own[part], group[part], others[part] > 0, members
        if size >= len(own):
            parts.append(_pixels(*rows, concentration))
        else:
            parts.append(checkpoint(_pixels, *rows, concentration, use_reentrant=False, preserve_rng_state=False))
    alone = others.clamp_min(1)
    chance = ((alone + opposed) / alone).log().mean().item()
    return Term(torch.cat(parts).mean(), chance)


def class_relation(label: torch.Tensor, classes: int) -> torch.Tensor:
    """Segments against classes: 1 of this class, -1 of another one, 0 without a label.

    Args:
        label: (S,) int64 classes, or 254 and above.
        classes: Number of classes C.

    Returns:
        (C, S) int8.

    Example:
        >>> class_relation(torch.tensor([0, 1, 254]), 2).tolist()
        [[1, -1, 0], [-1, 1, 0]]
    """
    same = label == torch.arange(classes, device=label.device)[:, None]
    return torch.where(same, 1, -1).masked_fill(label >= UNLABELLED, 0).to(torch.int8)


def set_relation(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Sets of tags against each other: 1 where they intersect, -1 where they are disjoint, 0 where one is empty.

    Args:
        rows: (G, C) bool: the tags of each group.
        columns: (S, C) bool: the tags of each segment.

    Returns:
        (G, S) int8.
    """
    shared = rows.float() @ columns.float().T > 0
    known = rows.any(1)[:, None] & columns.any(1)
    return torch.where(shared, 1, -1).masked_fill(~known, 0).to(torch.int8)


def _pixels(
    embedding: torch.Tensor,
    prototype: torch.Tensor,
    own: torch.Tensor,
    group: torch.Tensor,
    plenty: torch.Tensor,
    members: torch.Tensor,
    concentration: float,
) -> torch.Tensor:
    """-log(num / den) of each pixel, (n,).

    Cosines are at most 1, so all terms are divided by exp(k); and the own segment's is taken out before the sums, not
    subtracted from them, which would leave a residue.

    Args:
        embedding: (n, D).
        prototype: (S, D).
        own: (n,).
        group: (n,).
        plenty: (n,) bool, whether it has a positive segment besides its own.
        members: (2, G, S) ones of the positive and of the negative segments.
        concentration: k.
    """
    s = torch.exp(concentration * (embedding @ prototype.T - 1))  # (n, S)
    itself = s.gather(1, own[:, None])[:, 0]
    s = s.scatter(1, own[:, None], 0.0)
    pick = group[:, None]
    numerator = torch.where(plenty, (s @ members[0].T).gather(1, pick)[:, 0], itself)
    against = (s @ members[1].T).gather(1, pick)[:, 0]
    # Not the logarithm of a ratio: its gradient would divide by the square of the numerator.
    return (numerator + against).log() - numerator.log()
