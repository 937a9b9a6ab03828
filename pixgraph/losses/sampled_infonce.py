"""InfoNCE of vectors with some of many keys each as negatives, without ever holding the keys of all of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from pixgraph.graph.edge_products import row_dots, row_sums
from pixgraph.losses.pixel_vectors import vector_rows

BLOCK = 2**24
"""Numbers of gathered keys that a GPU holds at a time, 64 MB in float32."""

CACHE = 2**20
"""Numbers of keys that a CPU works on at a time, 4 MB in float32."""

STREAMS = 64
"""Channels of a map that are read side by side: a processor can follow about so many places in memory."""

LARGEST = 80.0
"""Logits by which a negative may exceed the positive before it counts as this; only below temperature 0.025."""


def sampled_infonce(
    vectors: torch.Tensor, positives: torch.Tensor, keys: torch.Tensor, index: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The cross-entropy of each vector q's positive p against its own keys k_j = keys[index[q, j]].

        L_q = -log( exp(cos(q, p) / t) / (exp(cos(q, p) / t) + sum_j exp(cos(q, k_j) / t)) )

    The sum over j and its gradient, a weighted sum of keys, are made in one pass over blocks of keys: the (Q, K, D)
    gathered keys are never there, and on a CPU no copy of all keys.

    Args:
        vectors: (Q, D) of any length.
        positives: (Q, D) of any length, the p of each vector; gets no gradient.
        keys: (M, D), or a map (B, D, h, w) of M = B h w vectors; of any length; gets no gradient.
        index: (Q, K) int64, numbers of keys; a key may occur more than once.
        temperature: t > 0.

    Returns:
        (Q,) at least 0; the cosine with a key of zeros is 0.
    """
    unit, own = F.normalize(vectors, dim=1), F.normalize(positives.detach(), dim=1)
    return _SampledInfoNCE.apply(unit, own, keys.detach(), index, temperature)


class Sums(NamedTuple):
    """What the negatives of each vector add up to.

    Attributes:
        mass: (Q,) sum of their weights, exp of by how much a logit exceeds the positive's.
        keys: (Q, D) sum of their unit vectors times the weights.
    """

    mass: torch.Tensor
    keys: torch.Tensor


def block_sums(
    vectors: torch.Tensor, offset: torch.Tensor, keys: torch.Tensor, index: torch.Tensor, temperature: float
) -> Sums:
    """The sums of negatives, keys sorted so that a CPU has few to do with at a time, which stay in its cache.

    Long keys at random places take it twice as long to read, even though sorting is paid for.

    Args:
        vectors: (Q, D) of unit length.
        offset: (Q,) cosines with the positives.
        keys: (M, D) or (B, D, h, w).
        index: (Q, K) int64 below M; neither Q nor K is 0.
        temperature: Above 0.
    """
    count, each = index.shape
    size = max(1, CACHE // max(1, keys.shape[1]))
    chunks = [chunk for rows in vector_rows(keys) for chunk in rows.split(size)]
    small = torch.uint8 if len(chunks) <= 255 else torch.int64  # bytes are sorted in a quarter of the time
    names = torch.arange(len(chunks) + 1, dtype=small)
    chunk_of = names[:-1].repeat_interleave(torch.tensor([len(chunk) for chunk in chunks]))  # (M,)
    flat = index.flatten()
    sorted_chunks, order = chunk_of.index_select(0, flat).sort(stable=True)
    bounds = torch.searchsorted(sorted_chunks, names).tolist()
    starts = torch.arange(count + 1) * each  # number of the first pair of each vector
    mass, total, before = torch.zeros_like(offset), torch.zeros_like(vectors), 0
    for chunk, (start, stop) in zip(chunks, pairwise(bounds), strict=True):
        if start < stop:
            block = packed(chunk).to(vectors.dtype)
            pairs = order[start:stop]
            column = flat.index_select(0, pairs).sub_(before)
            ends = torch.searchsorted(pairs, starts)  # where the pairs of each vector start and end
            scale = inverse_norm(block).index_select(0, column)
            logit = row_dots(ends, column, block[None], vectors[None])[0].mul_(scale)
            logit.sub_(offset.repeat_interleave(ends.diff()))
            weight = logit.div_(temperature).clamp_max_(LARGEST).exp_()
            mass += torch.segment_reduce(weight, "sum", offsets=ends)
            weight *= scale
            total += row_sums(ends, column, block, weight)
        before += len(chunk)
    return Sums(mass, total)


def gathered_sums(
    vectors: torch.Tensor, offset: torch.Tensor, keys: torch.Tensor, index: torch.Tensor, temperature: float
) -> Sums:
    """The same as `block_sums` on any device; the keys are gathered for some vectors at a time."""
    flat = F.normalize(torch.cat(vector_rows(keys)).to(vectors.dtype), dim=1)
    step = max(1, BLOCK // max(1, index.shape[1] * flat.shape[1]))
    found = []
    for unit, own, some in zip(vectors.split(step), offset.split(step), index.split(step), strict=True):
        gathered = flat[some]  # (q, K, D)
        logit = (gathered @ unit[:, :, None])[:, :, 0] - own[:, None]
        weight = logit.div_(temperature).clamp_max_(LARGEST).exp_()
        found.append(Sums(weight.sum(1), (weight[:, None] @ gathered)[:, 0]))
    return Sums(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def packed(rows: torch.Tensor) -> torch.Tensor:
    """Vectors (n, D) one after the other in memory; those of a map are turned over in half the time of a plain copy."""
    return rows if rows.is_contiguous() else torch.cat(rows.split(STREAMS, 1), 1)


def inverse_norm(keys: torch.Tensor) -> torch.Tensor:
    """One over the lengths (n,) of keys (n, D)."""
    return keys.norm(dim=1).clamp_min(1e-12).reciprocal()


class _SampledInfoNCE(torch.autograd.Function):
    """The losses log(1 + mass); the gradient with respect to the vectors is there as soon as they are."""

    @staticmethod
    def forward(
        ctx: Any,
        vectors: torch.Tensor,
        positives: torch.Tensor,
        keys: torch.Tensor,
        index: torch.Tensor,
        temperature: float,
    ) -> torch.Tensor:
        """(Q,)."""
        if not index.numel():
            ctx.save_for_backward(torch.zeros_like(vectors))
            return vectors.new_zeros(len(vectors))
        sums = block_sums if vectors.device.type == "cpu" else gathered_sums
        mass, total = sums(vectors, (vectors * positives).sum(1), keys, index, temperature)
        # d log(1 + sum_j exp((v k_j - v p) / t)) / dv
        ctx.save_for_backward((total - mass[:, None] * positives) / (temperature * (1 + mass[:, None])))
        return mass.log1p()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """(Q, D)."""
        return gradient[:, None] * ctx.saved_tensors[0], None, None, None, None
