"""ReCo, regional contrast: uncertain pixels of a class against pixels of the classes that look most like it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from pixgraph.data.base import UNLABELLED
from pixgraph.losses.pixel_vectors import vectors_at
from pixgraph.losses.reco_draws import PixelDraws, class_means, class_relation, draw_pixels, find_regions
from pixgraph.losses.sampled_infonce import sampled_infonce


class RecoTerm(NamedTuple):
    """ReCo of a batch.

    Attributes:
        value: A scalar.
        chance: The same loss for vectors that are all equal: ln(1 + K), times the share of classes that have queries.
        present: Classes with valid pixels.
        skipped: Those of them without a hard pixel; they add 0 and count in the mean.
    """

    value: torch.Tensor
    chance: float
    present: int
    skipped: int


def reco_loss(
    representation: torch.Tensor,
    label: torch.Tensor,
    valid: torch.Tensor,
    probability: torch.Tensor,
    *,
    generator: torch.Generator,
    temperature: float = 0.5,
    num_queries: int = 256,
    num_negatives: int = 512,
    strong_threshold: float = 0.97,
) -> RecoTerm:
    """ReCo (Liu et al. 2022, eq. 1 to 4, with the sampling of the authors' code).

    With V_c the valid pixels of class c, m_c their mean vector, p_i(c) the probability of class c at pixel i:

        queries   q, 256 of H_c = {i in V_c: p_i(c) < 0.97}
        relation  R(c, k) = softmax over k != c of cos(m_c, m_k) / t
        negatives n_j, 512 for each query: a class k by R(c, k), then a pixel of V_k
        L_c = mean_q -log( e^{cos(q, m_c)/t} / (e^{cos(q, m_c)/t} + sum_j e^{cos(q, n_j)/t}) )
        L   = sum_c L_c / (number of classes present)

    All draws are uniform and with replacement. Means and negatives get no gradient. A class without hard pixels adds 0
    and is counted. Zero when fewer than two classes are present; ln 513 when all vectors are equal; at least
    ln(1 + 512 e^{-2/t}), 2.34 for t = 0.5.

    Args:
        representation: (B, D, h, w), or (N, D) of N pixels; vectors of any length.
        label: (B, h, w) or (N,) int64: class 0..C-1, 254 unlabelled, 255 ignored.
        valid: (B, h, w) or (N,) bool: labelled pixels, and pixels whose pseudo label is confident enough.
        probability: (B, C, h, w) or (N, C) class probabilities of the network that learns; gets no gradient.
        generator: Where the draws come from.
        temperature: t > 0, of the relation and of the contrast.
        num_queries: Queries of a class.
        num_negatives: Negatives of a query.
        strong_threshold: A pixel is hard when its own class is less likely than this.

    Returns:
        Value (gradient zero where it is zero by definition), chance value, and counts of classes.

    Raises:
        ValueError: The shapes do not fit, or a label is no class.
    """
    _check(representation, label, valid, probability)
    exact = torch.promote_types(representation.dtype, torch.float32)  # half precision is too coarse for the sums
    with torch.autocast(representation.device.type, enabled=False):
        vectors = representation.detach().to(exact)
        chances = probability.detach().movedim(1, -1).flatten(0, -2)  # (N, C)
        regions = find_regions(label.flatten(), valid.flatten(), chances, strong_threshold)
        present, skipped = len(regions.classes), int((regions.hard_counts == 0).sum())
        if present < 2 or skipped == present:
            return RecoTerm(representation.flatten()[:0].sum().to(exact), 0.0, present, skipped)
        means = class_means(vectors, regions)
        draws = draw_pixels(regions, class_relation(means, temperature), num_queries, num_negatives, generator)
        queries = vectors_at(representation, draws.queries).to(exact)  # (A, Q, D)
        value = contrast(queries, vectors, means, draws, temperature)
    return RecoTerm(value, (present - skipped) / present * math.log(1 + num_negatives), present, skipped)


def contrast(
    queries: torch.Tensor, vectors: torch.Tensor, means: torch.Tensor, draws: PixelDraws, temperature: float
) -> torch.Tensor:
    """The loss for given draws: cross-entropy of the class mean against the negatives.

    Args:
        queries: (A, Q, D) vectors of the drawn queries; the only ones with a gradient.
        vectors: (N, D) all vectors, or a map (B, D, h, w) of them.
        means: (P, D) of the classes present.
        draws: Which they are.
        temperature: Above 0.

    Returns:
        A scalar: the sum over the A classes of the mean over their queries, over P.
    """
    own = means[draws.rows].repeat_interleave(queries.shape[1], 0)  # (A Q, D)
    losses = sampled_infonce(queries.flatten(0, 1), own, vectors, draws.negatives.flatten(0, 1), temperature)
    return losses.sum() / (queries.shape[1] * len(means))


def _check(representation: torch.Tensor, label: torch.Tensor, valid: torch.Tensor, probability: torch.Tensor) -> None:
    """Refuse what does not belong together.

    Raises:
        ValueError: Shapes differ, or a label is no class.
    """
    shape = representation.shape[:1] + representation.shape[2:]
    fits = probability.dim() == representation.dim() and probability.shape[:1] + probability.shape[2:] == shape
    if representation.dim() not in (2, 4) or not fits or label.shape != shape or valid.shape != shape:
        got = ", ".join(str(tuple(t.shape)) for t in (representation, label, valid, probability))
        raise ValueError(
            f"reco_loss: got representation, label, valid and probability of shapes {got}; expected (B, D, h, w), "
            "(B, h, w), (B, h, w) and (B, C, h, w) of one size, or (N, D), (N,), (N,) and (N, C)"
        )
    classes = probability.shape[1]
    wrong = ((label >= classes) & (label < UNLABELLED)) | (label < 0) | (label > 255)
    if wrong.any():
        raise ValueError(
            f"reco_loss: got label {int(label[wrong][0])}, expected 0..{classes - 1}, 254 (unlabelled) or 255 (ignored)"
        )
