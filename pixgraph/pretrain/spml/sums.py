"""Sums of vectors by group, fast on both kinds of device."""

from __future__ import annotations

import torch


def group_sums(vectors: torch.Tensor, group: torch.Tensor, count: int) -> torch.Tensor:
    """The sum of the vectors of each group, with gradient; zero for one without vectors.

    On the CPU this is the product of a sparse matrix of ones with the vectors, which takes a quarter of the time of
    `Tensor.index_add` and adds in the order of the vectors.

    Args:
        vectors: (n, D) float.
        group: (n,) int64 in 0 .. count - 1.
        count: Number of groups G.

    Returns:
        (G, D).

    Example:
        >>> group_sums(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 2, 0]), 3).tolist()
        [[5.0], [0.0], [2.0]]
    """
    if vectors.device.type != "cpu" or not len(vectors):
        return vectors.new_zeros(count, vectors.shape[1]).index_add(0, group, vectors)
    places = torch.stack([group, torch.arange(len(group))])
    ones = torch.sparse_coo_tensor(places, vectors.new_ones(len(group)), (count, len(group)), check_invariants=False)
    return torch.sparse.mm(ones, vectors)
