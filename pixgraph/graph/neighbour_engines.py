"""The exact methods that propose candidates, and which of them is fastest where.

A k-d tree in few dimensions, otherwise a matrix product: in tiles that stay in the cache, whose smallest entries a row
are kept in heaps by FAISS, or picked by torch where FAISS is not installed and on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pixgraph.graph.faiss_backend import load_faiss
from pixgraph.graph.neighbour_ranking import TREE_DIMENSIONS, Candidates, Engine, Metric, chunk, distances
from pixgraph.graph.neighbour_ties import DIFFERENCES, product_slack, squared_lengths
from pixgraph.graph.neighbour_tree import tree_engine
from pixgraph.graph.row_workers import calls_on_all_threads, map_blocks, worker_threads

Tensor = torch.Tensor

TILE = (512, 2048)
"""Queries and points of a tile, 4 MB: of 64..512 x 1024..8192 the fastest from 1000 to 200,000 points."""

SMALL = 2**22
"""Pairs of query and point up to which one call on all threads is faster than blocks of rows, each on one."""

MANY_POINTS = 10_000
"""From this many points a top k of groups, then of their members, is faster than one of whole rows."""


def choose_engine(p: Tensor, metric: Metric) -> Engine:
    """The engine that is fastest for points (n, d) float32; they have length 1, or 0, for "cosine"."""
    if p.device.type == "cpu" and metric == "l2" and p.shape[1] <= TREE_DIMENSIONS:
        return tree_engine(p)
    if p.device.type == "cpu" and load_faiss() is not None:
        return heap_engine(p, metric)
    return top_engine(p, metric)


def heap_engine(p: Tensor, metric: Metric) -> Engine:
    """Products in tiles by torch, heaps and distances by FAISS: 1.2 to 7 times as fast as `faiss.IndexFlatL2`."""
    faiss, p = load_faiss(), p.contiguous()
    n, d = p.shape
    lengths = squared_lengths(p)  # (n,)
    largest = lengths.max()

    def propose(q: Tensor, count: int) -> Candidates:
        """The nearest points by heaps of FAISS."""
        q = q.contiguous()
        score, index = np.empty((len(q), count), np.float32), np.empty((len(q), count), np.int64)

        def work(rows: slice, threads: int = 1) -> None:
            """Fill the heaps of some rows."""
            faiss.omp_set_num_threads(threads)
            part, found = q[rows], (score[rows], index[rows])
            heaps = faiss.float_maxheap_array_t()
            heaps.nh, heaps.k = len(part), count
            heaps.val, heaps.ids = (faiss.swig_ptr(x) for x in found)
            heaps.heapify()
            tile = torch.empty(len(part) * min(n, TILE[1]))
            for start in range(0, n, TILE[1]):
                points = p[start : start + TILE[1]]
                near = tile[: len(part) * len(points)].view(len(part), len(points))
                rank_by_product(part, points, lengths[start : start + TILE[1]], metric, near)
                heaps.addn(len(points), faiss.swig_ptr(near.numpy()), start, 0, len(part))
            heaps.reorder()

        if len(q) * n <= SMALL:
            with calls_on_all_threads() as threads:
                work(slice(0, len(q)), threads)
        else:
            map_blocks(work, len(q), TILE[0])
        distance = _listed(faiss, p, q, index, metric)
        reach = _reach(torch.from_numpy(score[:, -1]), lengths if q is p else squared_lengths(q), largest, d, metric)
        return Candidates(torch.from_numpy(index), reach, distance)

    return propose


def top_engine(p: Tensor, metric: Metric) -> Engine:
    """Products and their smallest entries in plain torch, on any device."""
    n, d = p.shape
    lengths = squared_lengths(p)  # (n,)
    largest = lengths.max()

    def propose(q: Tensor, count: int) -> Candidates:
        """The nearest points by a partial sort of all products."""

        def work(rows: slice) -> Any:
            """Nearest points of some rows, the last score of each, and distances."""
            best = smallest(rank_by_product(q[rows], p, lengths, metric), count)
            return best.indices, best.values[:, -1], distances(p, q[rows], best.indices, metric)

        block = max(1, chunk(p.device) // n, min(64, 2**24 // n))  # fewer rows would read the points too often
        found = map_blocks(work, len(q), block, threads=None if p.device.type == "cpu" else 1)
        index, last, far = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Candidates(index, _reach(last, lengths if q is p else squared_lengths(q), largest, d, metric), far)

    return propose


def rank_by_product(q: Tensor, p: Tensor, lengths: Tensor, metric: Metric, out: Tensor | None = None) -> Tensor:
    """|b|^2 - 2 a.b, which ranks the points b of each query a by their distance; for "cosine" -2 a.b.

    Args:
        q: (m, d) queries.
        p: (n, d) points.
        lengths: (n,) squared lengths of the points.
        metric: "l2" or "cosine".
        out: (m, n) where to write it.
    """
    return torch.addmm(lengths, q, p.T, beta=int(metric == "l2"), alpha=-2, out=out)  # nothing is copied for zero


def smallest(x: Tensor, count: int) -> Any:
    """The `count` smallest entries of each row, as `torch.topk` gives them, faster for long rows.

    The smallest entries lie in the groups with the smallest minima: one pass finds the minima, and only the members of
    `count` groups are searched.

    Args:
        x: (r, n) without NaN.
        count: How many, 1..n.

    Returns:
        `values` and `indices`, (r, count), ascending.

    Example:
        >>> smallest(torch.tensor([[3.0, 1.0, 2.0]]), 2).indices.tolist()
        [[1, 2]]
    """
    n = x.shape[1]
    size = 2 ** max(0, round(np.log2((n / count) ** 0.5) - 0.75))
    groups = n // size
    if n < MANY_POINTS or size < 4 or groups <= count:
        return x.topk(count, dim=1, largest=False)
    low = x[:, : groups * size].unflatten(1, (size, groups)).amin(1)  # (r, groups): group g holds g, g + groups, ...
    first = low.topk(count, dim=1, largest=False, sorted=False).indices
    members = first.unsqueeze(1) + torch.arange(0, groups * size, groups, device=x.device).view(1, -1, 1)
    rest = torch.arange(groups * size, n, device=x.device).expand(len(x), -1)
    members = torch.cat([members.flatten(1), rest], 1)
    best = x.gather(1, members).topk(count, dim=1, largest=False)
    return torch.return_types.topk((best.values, members.gather(1, best.indices)))


def _listed(faiss: Any, p: Tensor, q: Tensor, index: np.ndarray, metric: Metric) -> Tensor:
    """Distances (m, c) of each query to its candidates (m, c), from differences, by FAISS."""
    far = np.empty(index.shape, np.float32)
    faiss.omp_set_num_threads(worker_threads())
    measure = faiss.fvec_inner_products_by_idx if metric == "cosine" else faiss.fvec_L2sqr_by_idx
    pointers = (faiss.swig_ptr(x) for x in (far, q.numpy(), p.numpy(), index))
    measure(*pointers, p.shape[1], *index.shape)
    faiss.omp_set_num_threads(1)
    distance = torch.from_numpy(far)
    return (1 - distance).clamp_min_(0) if metric == "cosine" else distance.sqrt_()


def _reach(last: Tensor, own: Tensor, largest: Tensor, d: int, metric: Metric) -> Tensor:
    """A distance (m,) below which no point is missing.

    Args:
        last: (m,) greatest entry that was kept, of |b|^2 - 2 a.b or -2 a.b, rounded by a matrix product.
        own: (m,) squared length of the queries.
        largest: Greatest squared length of the points.
        d: Dimensions.
        metric: "l2" or "cosine".
    """
    near = (last + own).clamp_min(0)  # squared distance of the last candidate
    # A point that is missing below it is at most that much longer than the query, so |b|^2 is bounded.
    length = torch.minimum(largest, (own.sqrt() + near.sqrt()).square()) if metric == "l2" else largest
    slack = product_slack(own, length, d)
    if metric == "cosine":
        return 1 + last / 2 - slack
    return (near - slack).clamp_min(0).sqrt() * (1 - DIFFERENCES)
