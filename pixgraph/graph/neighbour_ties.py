"""The rows whose k-th place may be shared by more points than were proposed, searched again.

Features of real pictures have many such rows: pixels of one colour, vectors interpolated on a line. Their k-th distance
is known, so one more product finds all points that may be as near, however many they are.
"""

from __future__ import annotations

import numpy as np
import torch

from pixgraph.graph.faiss_backend import load_faiss
from pixgraph.graph.neighbour_ranking import TREE_DIMENSIONS, Metric, chunk, first_by_distance, pair_distances
from pixgraph.graph.row_workers import map_blocks

Tensor = torch.Tensor

ROUNDING = {"highest": 2.0**-23, "high": 2.0**-10, "medium": 2.0**-7}
"""Relative error of a product by `torch.get_float32_matmul_precision`: over twice what was measured for d to 1280."""

SMALL = 2**20
"""Pairs of query and point up to which one thread compares them."""

DIFFERENCES = 1e-5
"""Relative error of a distance from differences in float32, generously."""


def squared_lengths(x: Tensor) -> Tensor:
    """Squared lengths (n,) of (n, d), without another array of this size."""
    return torch.linalg.vector_norm(x, dim=1).square_()


def product_slack(own: Tensor, other: Tensor, d: int) -> Tensor:
    """How far off a squared distance, or a cosine distance, by matrix product may be.

    Args:
        own: Squared lengths of the queries.
        other: Greatest squared lengths of the points in question.
        d: Dimensions.
    """
    return ROUNDING[torch.get_float32_matmul_precision()] * (4 + d**0.5) * (own + other)


def rank_within(
    p: Tensor, q: Tensor, limit: Tensor, k: int, own: Tensor | None, metric: Metric
) -> tuple[Tensor, Tensor]:
    """The first k by (distance, index) of all points up to a distance.

    Args:
        p: Points (n, d) float32.
        q: Queries (m, d) float32.
        limit: (m,) distances, at least those of the k-th nearest points.
        k: How many.
        own: (m,) index of the point that each row must not contain, or `None`.
        metric: "l2" or "cosine".

    Returns:
        Indices (m, k) int64 and distances (m, k) float32.
    """
    lengths, squares = squared_lengths(q), None if metric == "cosine" else squared_lengths(p)
    if squares is None:
        bound = limit - 1 + product_slack(lengths, lengths.new_ones(()), p.shape[1]) + DIFFERENCES
    else:
        far = limit * (1 + DIFFERENCES)
        bound = far.square() - lengths + product_slack(lengths, (lengths.sqrt() + far).square(), p.shape[1])

    def work(rows: slice) -> tuple[Tensor, Tensor]:
        """Ranked neighbours of some rows, within their bounds."""
        near = (q[rows] @ p.T).neg_() if squares is None else torch.addmm(squares, q[rows], p.T, alpha=-2)
        row, column = (near <= bound[rows, None]).nonzero(as_tuple=True)
        width = torch.bincount(row, minlength=len(near))
        place = torch.arange(len(row), device=p.device) - (width.cumsum(0) - width)[row]
        index = column.new_zeros((len(near), int(width.max())))
        distance = near.new_full(index.shape, torch.inf)
        index[row, place] = column
        distance[row, place] = _listed(q[rows], row, p, column, metric)
        return first_by_distance(index, distance, k, None if own is None else own[rows])

    block = max(16, chunk(p.device) // len(p))
    # Threads that are started for little work cost more than they save.
    many = p.device.type == "cpu" and len(q) * len(p) > SMALL
    found = map_blocks(work, len(q), block, threads=None if many else 1)
    return torch.cat([one[0] for one in found]), torch.cat([one[1] for one in found])


def _listed(a: Tensor, first: Tensor, b: Tensor, second: Tensor, metric: Metric) -> Tensor:
    """`pair_distances`, by FAISS where it can: it gathers nothing, and a picture's black corner ties thousands."""
    faiss = load_faiss() if a.device.type == "cpu" and metric == "l2" and a.shape[1] > TREE_DIMENSIONS else None
    if faiss is None:
        return pair_distances(a, first, b, second, metric)
    faiss.omp_set_num_threads(1)
    far = np.empty(len(first), np.float32)
    arrays = (a.contiguous(), first, b.contiguous(), second)
    faiss.pairwise_indexed_L2sqr(
        a.shape[1], len(first), *(faiss.swig_ptr(x.contiguous().numpy()) for x in arrays), faiss.swig_ptr(far)
    )
    return torch.from_numpy(far).sqrt_()
