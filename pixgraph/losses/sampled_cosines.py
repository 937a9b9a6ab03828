"""Cosines of vectors with some of many keys each, without holding the keys of all of them at once."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

BLOCK = 2**24
"""Numbers of gathered keys that a GPU holds at a time, 64 MB in float32."""

CACHE = 2**20
"""Numbers of keys that a CPU works on at a time, 4 MB in float32."""


def sampled_cosines(vectors: torch.Tensor, keys: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The cosine of vector q with each of its own keys: ``cos(vectors[q], keys[index[q, j]])``.

    Neither pass holds the (Q, K, D) gathered keys: the products are computed pair by pair or in blocks, and the
    gradient of a vector is a weighted sum of its keys.

    Args:
        vectors: (Q, D) of any length.
        keys: (M, D) of any length, of the same type; gets no gradient.
        index: (Q, K) int64, rows of `keys`; a row may occur more than once.

    Returns:
        (Q, K) in -1..1; 0 with a key of zeros.
    """
    keys = keys.detach()
    scale = keys.norm(dim=1).clamp_min(1e-12).reciprocal()  # (M,)
    products: torch.Tensor = _SampledProducts.apply(F.normalize(vectors, dim=1), keys, index)
    return products * scale.index_select(0, index.flatten()).view_as(index)


class Block(NamedTuple):
    """The pairs of vectors and keys whose keys follow one another.

    Attributes:
        pairs: Which pairs in the order of `KeyBlocks` these are; those of a vector follow one another.
        ends: (Q + 1,) where, among them, the pairs of each vector start and end.
    """

    pairs: slice
    ends: torch.Tensor


class KeyBlocks:
    """Pairs of vectors and keys, sorted so that a CPU has few keys to do with at a time, which stay in its cache.

    Long keys at random places take it twice as long to read, even though sorting is paid for.

    Args:
        index: (Q, K) int64, rows of the keys; neither Q nor K is 0.
        count: Number of keys M, more than K: a sparse matrix has no room for more pairs than vectors times keys.
        channels: Numbers in a key.
    """

    def __init__(self, index: torch.Tensor, count: int, channels: int) -> None:
        rows, each = index.shape
        shift = max(1, CACHE // max(1, channels)).bit_length() - 1
        blocks = (count >> shift) + 1
        small = torch.uint8 if blocks <= 256 else torch.int64  # bytes are sorted in a quarter of the time
        block, self.order = (index >> shift).to(small).flatten().sort(stable=True)
        self.columns = index.flatten().index_select(0, self.order)
        bounds = torch.searchsorted(block, torch.arange(blocks, dtype=small)).tolist()
        first = torch.arange(rows + 1) * each  # number of the first pair of each vector
        parts = [slice(*ends) for ends in pairwise([*bounds, len(block)])]
        self.blocks = [Block(part, torch.searchsorted(self.order[part], first)) for part in parts]

    def products(self, vectors: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Products (Q K,), pair by pair of the index, of vectors (Q, D) and keys (M, D)."""
        found, shape = vectors.new_zeros(len(self.order)), (len(vectors), len(keys))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            for part, ends in self.blocks:
                pairs = torch.sparse_csr_tensor(ends, self.columns[part], found[part], shape, check_invariants=False)
                found[part] = torch.sparse.sampled_addmm(pairs, vectors, keys.t(), beta=0.0).values()
        return torch.empty_like(found).scatter_(0, self.order, found)

    def sums(self, weight: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """Sums (Q, D) of each vector's keys (M, D), times weights (Q K,) pair by pair of the index."""
        weight = weight.index_select(0, self.order)
        bags = (
            F.embedding_bag(
                self.columns[part], keys, ends, per_sample_weights=weight[part], mode="sum", include_last_offset=True
            )
            for part, ends in self.blocks
        )
        return sum(bags, start=keys.new_zeros(len(self.blocks[0].ends) - 1, keys.shape[1]))


def gathered_products(vectors: torch.Tensor, keys: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Products (Q, K) of the vectors (Q, D) with keys (M, D), which are gathered in blocks."""
    products = vectors.new_empty(index.shape)
    rows = max(1, BLOCK // max(1, index.shape[1] * keys.shape[1]))
    for part, some, out in zip(vectors.split(rows), index.split(rows), products.split(rows), strict=True):
        torch.bmm(keys[some], part[:, :, None], out=out[:, :, None])
    return products


class _SampledProducts(torch.autograd.Function):
    """Scalar products of vectors (Q, D) with the keys (M, D) that index (Q, K) names; a gradient for the vectors."""

    @staticmethod
    def forward(ctx: Any, vectors: torch.Tensor, keys: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """(Q, K)."""
        ctx.save_for_backward(keys, index)
        ctx.blocks = None
        if vectors.device.type != "cpu":
            return gathered_products(vectors, keys, index)
        if index.shape[1] >= len(keys) or not index.numel():
            return (vectors @ keys.T).gather(1, index)
        ctx.blocks = KeyBlocks(index, *keys.shape)
        return ctx.blocks.products(vectors, keys).view(index.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """(Q, D): sum_j gradient[q, j] keys[index[q, j]]."""
        keys, index = ctx.saved_tensors
        if ctx.blocks is not None:
            return ctx.blocks.sums(gradient.flatten(), keys), None, None
        if not index.numel():
            return keys.new_zeros(len(index), keys.shape[1]), None, None
        found = F.embedding_bag(index, keys, per_sample_weights=gradient.contiguous(), mode="sum")
        return found, None, None
