"""Cosines of vectors with some of many keys each, without holding the keys of all of them at once."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F

BLOCK = 2**24
"""Numbers of gathered keys that a GPU holds at a time, 64 MB in float32."""


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


def sorted_products(vectors: torch.Tensor, keys: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Products (Q, K) of the vectors (Q, D) with keys (M, D), in the order of the keys.

    A CPU reads long keys at random places four times as slowly as one after the other, even though sorting is paid for.
    """
    if index.shape[1] >= len(keys) or not index.numel():
        return (vectors @ keys.T).gather(1, index)  # a sparse matrix has no room for more pairs than these
    numbers, order = index.flatten().int().sort()
    rows = F.pad(torch.bincount(numbers, minlength=len(keys)).cumsum(0), (1, 0))
    columns = order.div(index.shape[1], rounding_mode="floor")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        pairs = torch.sparse_csr_tensor(
            rows, columns, vectors.new_zeros(len(order)), (len(keys), len(vectors)), check_invariants=False
        )
    found = torch.sparse.sampled_addmm(pairs, keys, vectors.t(), beta=0.0).values()
    return torch.empty_like(found).scatter_(0, order, found).view(index.shape)


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
        products = sorted_products if vectors.device.type == "cpu" else gathered_products
        return products(vectors, keys, index)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """(Q, D): sum_j gradient[q, j] keys[index[q, j]]."""
        keys, index = ctx.saved_tensors
        if not index.numel():
            return keys.new_zeros(len(index), keys.shape[1]), None, None
        found = F.embedding_bag(index, keys, per_sample_weights=gradient.contiguous(), mode="sum")
        return found, None, None
