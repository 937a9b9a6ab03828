"""Which pixels ReCo compares: the pixels of each class, how alike the classes are, and the draws from both."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from pixgraph.data.base import UNLABELLED
from pixgraph.losses.pixel_vectors import vector_rows

PIECE = 2**16
"""Pixels that are drawn at a time: what they need stays in a processor's cache."""


class Regions(NamedTuple):
    """The pixels of the P classes that are present, class after class.

    Attributes:
        classes: (P,) int64, ascending.
        pixels: (M,) int64 numbers of valid pixels, those of the first class first.
        counts: (P,) int64, pixels of each class.
        hard: (H,) int64 numbers of the hard ones among them, in the same order.
        hard_counts: (P,) int64, hard pixels of each class; may be 0.
    """

    classes: torch.Tensor
    pixels: torch.Tensor
    counts: torch.Tensor
    hard: torch.Tensor
    hard_counts: torch.Tensor


class PixelDraws(NamedTuple):
    """What each query is compared with.

    Attributes:
        rows: (A,) int64, classes with queries, as places in `Regions.classes`.
        queries: (A, Q) int64 pixel numbers.
        negatives: (A, Q, K) int64 pixel numbers, of other classes.
    """

    rows: torch.Tensor
    queries: torch.Tensor
    negatives: torch.Tensor


def find_regions(label: torch.Tensor, valid: torch.Tensor, probability: torch.Tensor, threshold: float) -> Regions:
    """Sort the valid pixels by class, and find the hard ones.

    Args:
        label: (N,) int64: class 0..C-1, 254 unlabelled or 255 ignored.
        valid: (N,) bool; other pixels take no part.
        probability: (N, C), of which the column of the pixel's own label is read.
        threshold: A pixel is hard when its own class is less likely than this.
    """
    pixels = (valid & (label < UNLABELLED)).nonzero()[:, 0]
    order = label[pixels].sort(stable=True)
    pixels = pixels[order.indices]
    own = probability[pixels, order.values]
    is_hard = own < threshold
    counts = torch.bincount(order.values, minlength=probability.shape[1])  # (C,)
    hard_counts = torch.bincount(order.values[is_hard], minlength=probability.shape[1])
    classes = counts.nonzero()[:, 0]
    return Regions(classes, pixels, counts[classes], pixels[is_hard], hard_counts[classes])


def class_means(vectors: torch.Tensor, regions: Regions) -> torch.Tensor:
    """Mean vector of each class over its valid pixels, (P, D), of vectors (N, D) or a map (B, D, h, w)."""
    pictures, present = vector_rows(vectors), torch.arange(len(regions.classes), device=vectors.device)
    place = torch.full((sum(map(len, pictures)),), -1, device=vectors.device)
    place[regions.pixels] = present.repeat_interleave(regions.counts)
    sums = vectors.new_zeros(len(present), vectors.shape[1])
    for picture, own in zip(pictures, place.split([len(p) for p in pictures]), strict=True):
        member = (own == present[:, None]).to(vectors.dtype)  # (P, n)
        total = member @ picture
        if not total.isfinite().all():  # the vectors of other pixels need not be numbers
            total = member @ torch.where(own[:, None] >= 0, picture, 0)
        sums += total
    return sums / regions.counts[:, None]


def class_relation(means: torch.Tensor, temperature: float) -> torch.Tensor:
    """How often class k gives the negatives of class c: softmax over k != c of cos(mean_c, mean_k) / temperature.

    Args:
        means: (P, D), at least two.
        temperature: Above 0.

    Returns:
        (P, P); each row sums to 1, the diagonal is 0.
    """
    unit = F.normalize(means, dim=1)
    self_pair = torch.eye(len(means), dtype=torch.bool, device=means.device)
    return (unit @ unit.T / temperature).masked_fill(self_pair, -torch.inf).softmax(1)


def draw_pixels(
    regions: Regions, relation: torch.Tensor, num_queries: int, num_negatives: int, generator: torch.Generator
) -> PixelDraws:
    """Draw the queries and, for each of them, its own negatives; all with replacement.

    Queries are uniform over the hard pixels of a class, negative classes follow the relation, negative pixels are
    uniform over the valid pixels of their class. The draws are made on the generator's device.

    Args:
        regions: The pixels of P classes.
        relation: (P, P), see `class_relation`.
        num_queries: Q, for each class that has hard pixels.
        num_negatives: K, for each query.
        generator: Where the draws come from.
    """
    rows = regions.hard_counts.nonzero()[:, 0]  # (A,)
    queries = _uniform(regions.hard, regions.hard_counts, rows[:, None].expand(-1, num_queries), generator)
    shares = relation[rows].repeat_interleave(num_queries, 0)  # (A Q, P)
    counts = draw_counts(shares, num_negatives, generator)
    # A query's negatives have no order: those of a class lie together.
    classes = torch.arange(counts.shape[1], device=counts.device).repeat(len(counts))
    other = classes.repeat_interleave(counts.flatten(), output_size=len(counts) * num_negatives)
    negatives = _uniform(regions.pixels, regions.counts, other, generator)
    return PixelDraws(rows, queries, negatives.view(len(rows), num_queries, num_negatives))


def draw_counts(shares: torch.Tensor, total: int, generator: torch.Generator) -> torch.Tensor:
    """How many of `total` draws fall on each class: multinomial, class by class, from binomials of what is left.

    Args:
        shares: (n, P) probabilities; each row sums to 1.
        total: Draws of a row.
        generator: Where the draws come from.

    Returns:
        (n, P) int64; rows sum to `total`, and a class of probability 0 has none.
    """
    exact = shares.to(generator.device, torch.float64)
    # Sums from the back: the last class with a share has exactly all of what is left, whatever was rounded.
    left = exact.flip(1).cumsum(1).flip(1)
    chance = (exact / left.clamp_min(torch.finfo(torch.float64).tiny)).clamp_max(1)
    rest, counts = exact.new_full((len(exact),), total), []
    for k in range(exact.shape[1]):
        counts.append(torch.binomial(rest, chance[:, k].contiguous(), generator=generator))
        rest = rest - counts[-1]
    return torch.stack(counts, 1).long().to(shares.device)


def _uniform(
    pixels: torch.Tensor, counts: torch.Tensor, group: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """One of the pixels of each group, which lie group after group, shaped like `group`."""
    first, sizes = counts.cumsum(0) - counts, counts.double()  # float64 tells any two pixels apart
    drawn = []
    for some in group.flatten().split(PIECE):
        chance = torch.rand(len(some), generator=generator, dtype=torch.float64, device=generator.device)
        place = chance.to(pixels.device).mul_(sizes.index_select(0, some)).long()  # below the size: chances are below 1
        drawn.append(pixels.index_select(0, place.add_(first.index_select(0, some))))
    return torch.cat(drawn).view_as(group)
