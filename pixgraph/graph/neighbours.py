"""Exact nearest neighbours with one contract for every dimension and device.

`neighbour_engines` proposes candidates by the method that is fastest at this size; `approximate_neighbours` is the
faster search that may miss some, for who asks for it. Whatever proposes them, their
distances come from coordinate differences and are ranked by (distance, index), and rows where more points may belong to
a tie at the end are searched again. So the answer depends neither on the number of threads nor on how a matrix product
was rounded; two engines agree but for the last bit of a distance.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from pixgraph.errors import DataError
from pixgraph.graph.faiss_backend import load_faiss
from pixgraph.graph.free_memory import free_bytes
from pixgraph.graph.neighbour_engines import choose_engine
from pixgraph.graph.neighbour_ranking import TREE_DIMENSIONS, Metric, rank, rank_all
from pixgraph.graph.neighbour_ties import rank_within
from pixgraph.graph.row_workers import calls_on_one_thread

__all__ = ["MAX_POINTS", "load_faiss", "nearest_neighbours"]

Tensor = torch.Tensor

MAX_POINTS = 2**31 - 1
"""Most points: an index shares 64 bits with its distance while ties are broken."""

SHARE = 0.8
"""Share of the free memory that a search may take."""

FAR = 2.0**30
"""Coordinates up to this, and down to its inverse, are not scaled."""

ALWAYS_FITS = 2**26
"""Bytes below which the free memory is not asked for, which takes as long as a small search."""


def nearest_neighbours(
    points: Tensor | np.ndarray,
    k: int,
    queries: Tensor | np.ndarray | None = None,
    exclude_self: bool = True,
    metric: Literal["l2", "cosine"] = "l2",
) -> tuple[Tensor, Tensor]:
    """The k nearest points of each query, nearest first, ties broken by the smaller index.

    A tie is an equal distance as returned, in float32. Memory beyond the result: one copy of points and queries (three
    for a k-d tree), k + 3 candidates a query, and a few megabytes of work; no matrix of all pairs.

    Args:
        points: (n, d) finite, n < 2^31; computed in float32 after centring.
        k: How many; min(k, number of available points) are returned.
        queries: (m, d) finite; the points themselves when `None`.
        exclude_self: When the points query themselves, leave each out of its own list (by index: duplicates stay).
            Has no meaning with `queries`.
        metric: "l2", or "cosine": 1 - cos, where a zero vector has distance 1 to everything.

    Returns:
        Indices (m, k') int64 and distances (m, k') float32 (Euclidean, not squared), on the device of `points`.

    Raises:
        ValueError: A shape, `k` or the metric is wrong.
        DataError: A coordinate is NaN or infinite, there are too many points, or the search would not fit into memory.

    Example:
        >>> index, distance = nearest_neighbours(torch.tensor([[0.0], [1.0], [3.0]]), 1)
        >>> index.tolist(), distance.tolist()
        ([[1], [0], [1]], [[1.0], [1.0], [2.0]])
    """
    p, q = checked_pair(points, queries, k, metric)
    skip_self = exclude_self and queries is None
    k = max(0, min(k, len(p) - skip_self))
    if k == 0 or len(q) == 0:
        return q.new_empty((len(q), k), dtype=torch.int64), q.new_empty((len(q), k), dtype=torch.float32)
    check_size(p, len(q), k)
    with calls_on_one_thread():
        p, q, scale = prepared(p, q, metric)
        index, distance = search(p, q, k, torch.arange(len(q), device=p.device) if skip_self else None, metric)
    return index, distance if scale == 1 else distance.mul_(scale)


def checked_pair(
    points: Tensor | np.ndarray, queries: Tensor | np.ndarray | None, k: int, metric: str
) -> tuple[Tensor, Tensor]:
    """Points and queries as tensors on one device, the same object when there are no queries.

    Raises:
        ValueError: A shape, `k` or the metric is wrong.
        DataError: A coordinate is NaN or infinite.
    """
    p = _checked("points", points)
    q = p if queries is None else _checked("queries", queries).to(p.device)
    if q.shape[1] != p.shape[1]:
        raise ValueError(f"nearest_neighbours: queries have {q.shape[1]} dimensions, points {p.shape[1]}, not as many")
    if k < 0 or metric not in ("l2", "cosine"):
        raise ValueError(f"nearest_neighbours: got k={k}, metric={metric!r}; expected k >= 0, 'l2' or 'cosine'")
    return p, q


def check_size(p: Tensor, queries: int, k: int) -> None:
    """Refuse a search that can be foreseen to fail.

    Args:
        p: Points (n, d).
        queries: How many queries m.
        k: Neighbours of each.

    Raises:
        DataError: n is beyond `MAX_POINTS`, or the estimate of the memory beyond `SHARE` of what is free.
    """
    n, d = p.shape
    if n > MAX_POINTS:
        raise DataError(
            f"nearest_neighbours: got {n} points, expected at most {MAX_POINTS}; search parts of the points and merge"
        )
    copies = 12 if d <= TREE_DIMENSIONS else 4
    needed = copies * d * (n + queries) + queries * (12 * k + 40 * (k + 3))
    free = free_bytes(p.device) if needed > ALWAYS_FITS else None
    if free is not None and needed > SHARE * free:
        raise DataError(
            f"nearest_neighbours: {k} neighbours of {queries} queries among {n} points need about "
            f"{needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free on {p.device.type}; pass `queries` in parts"
        )


def _checked(name: str, x: Tensor | np.ndarray) -> Tensor:
    tensor = torch.as_tensor(x).detach()
    if tensor.dim() != 2:
        raise ValueError(f"nearest_neighbours: got {name} of shape {tuple(tensor.shape)}, expected (n, d)")
    tensor = tensor if tensor.dtype == torch.float64 else tensor.float()
    # One sum finds what is not finite without a mask; the mask then tells it from a sum that is too large.
    bad = 0 if torch.isfinite(tensor.sum()) else int((~torch.isfinite(tensor)).any(1).sum())
    if bad:
        raise DataError(
            f"nearest_neighbours: {bad} of {len(tensor)} {name} hold NaN or infinity, expected finite numbers; "
            "check the features they come from"
        )
    return tensor


def prepared(p: Tensor, q: Tensor, metric: str) -> tuple[Tensor, Tensor, float]:
    """Points and queries, float32, as they are searched, and the factor that undoes their scaling."""
    same = q is p
    if metric == "cosine":
        unit = [_unit(x) for x in ((p,) if same else (p, q))]
        return unit[0], unit[-1], 1.0
    # The expansion |a|^2 + |b|^2 - 2 a.b loses all digits far from the origin: centre.
    centre = p.mean(0)
    p = p - centre
    q = p if same else q - centre
    extremes = [torch.stack(x.aminmax()).abs().max() for x in ((p,) if same else (p, q)) if x.numel()]
    largest = max(map(float, extremes), default=0.0)
    # Squares would overflow or vanish: scale, by a power of two, which is exact.
    scale = 1.0 if largest == 0 or 1 / FAR < largest < FAR else 2.0 ** np.frexp(largest)[1]
    if scale != 1:
        p = p.div_(scale)
        q = p if same else q.div_(scale)
    p = p.float()
    return p, p if same else q.float(), float(scale)


def _unit(x: Tensor) -> Tensor:
    if x.shape[1] == 0:
        return x.float()
    return torch.nn.functional.normalize(x / x.abs().amax(1, keepdim=True).clamp_min(1e-30)).float()


def search(p: Tensor, q: Tensor, k: int, own: Tensor | None, metric: Metric) -> tuple[Tensor, Tensor]:
    """The exact search itself, and again for rows whose last place is shared.

    Args:
        p: Points (n, d) as `prepared` gives them.
        q: Queries (m, d), too.
        k: How many, 1..n, or 1..n - 1 with `own`.
        own: (m,) index of the point that each row must not contain, or `None`.
        metric: "l2" or "cosine".

    Returns:
        Indices (m, k) int64 and distances (m, k) float32 in the scale of `p`.
    """
    enough = min(len(p), 4 * k + 64) if p.shape[1] else 0  # without coordinates all are equally near
    count = k + (own is not None) + 2  # with one more than it takes to see a tie, hardly a row is searched again
    if count >= enough:
        return rank_all(p, q, k, own, metric)
    propose = choose_engine(p, metric)
    found = propose(q, count)
    index, distance = rank(found, k, own)
    rows = (found.reach <= distance[:, -1]).nonzero()[:, 0]
    # A tree is asked again for more, which is cheap; what is open then, or was searched by products, in one sweep.
    while len(rows) and p.shape[1] <= TREE_DIMENSIONS and (count := 2 * count + 8) < enough:
        found = propose(q[rows], count)
        index[rows], distance[rows] = rank(found, k, None if own is None else own[rows])
        rows = rows[found.reach <= distance[rows, -1]]
    if len(rows):
        mine = None if own is None else own[rows]
        index[rows], distance[rows] = rank_within(p, q[rows], distance[rows, -1], k, mine, metric)
    return index, distance
