"""Exact nearest neighbours with one contract for every dimension and device.

A k-d tree up to `TREE_DIMENSIONS` dimensions, FAISS flat beyond, plain torch for few pairs, on a GPU or without FAISS.
Whatever proposes the candidates, their distances are computed again from coordinate differences and ranked by
(distance, index), and rows where more points may belong to a tie at the end are searched again: so the answer depends
neither on the engine, nor on the number of threads, nor on how a matrix product was rounded.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache
from importlib import metadata
from typing import Any, Literal

import numpy as np
import torch

from pixgraph.errors import DataError, DependencyError

Tensor = torch.Tensor
Metric = Literal["l2", "cosine"]

TREE_DIMENSIONS = 8
"""Up to this many dimensions a k-d tree beats an exhaustive search (50 times for RGBxy)."""

FEW_PAIRS = 2**21
"""Up to this many pairs of point and query a matrix product and torch's top k take two thirds of FAISS's time."""

CHUNK = 2**19
"""Numbers held at a time in exhaustive searches and rankings: few enough to stay in a processor's cache."""


@lru_cache(maxsize=1)
def load_faiss() -> Any:
    """The FAISS module, or `None` where it is not installed.

    Raises:
        DependencyError: faiss-cpu and faiss-gpu are both installed, which mixes their files in one folder.
    """
    names = {d.metadata["Name"].lower() for d in metadata.distributions(name="faiss-cpu")}
    names |= {d.metadata["Name"].lower() for d in metadata.distributions(name="faiss-gpu")}
    if len(names) > 1:
        raise DependencyError(
            "FAISS: faiss-cpu and faiss-gpu are both installed and overwrite each other; run "
            "`pip uninstall faiss-cpu faiss-gpu`, then install one of them"
        )
    try:
        return importlib.import_module("faiss")
    except ImportError:
        return None


def nearest_neighbours(
    points: Tensor | np.ndarray,
    k: int,
    queries: Tensor | np.ndarray | None = None,
    exclude_self: bool = True,
    metric: Metric = "l2",
) -> tuple[Tensor, Tensor]:
    """The k nearest points of each query, nearest first, ties broken by the smaller index.

    Args:
        points: (n, d) finite; computed in float32 after centring.
        k: How many; min(k, number of available points) are returned.
        queries: (m, d) finite; the points themselves when `None`.
        exclude_self: When the points query themselves, leave each out of its own list (by index: duplicates stay).
            Has no meaning with `queries`.
        metric: "l2", or "cosine": 1 - cos, where a zero vector has distance 1 to everything.

    Returns:
        Indices (m, k') int64 and distances (m, k') float32 (Euclidean, not squared), on the device of `points`.

    Raises:
        ValueError: A shape, `k` or the metric is wrong.
        DataError: A coordinate is NaN or infinite.

    Example:
        >>> index, distance = nearest_neighbours(torch.tensor([[0.0], [1.0], [3.0]]), 1)
        >>> index.tolist(), distance.tolist()
        ([[1], [0], [1]], [[1.0], [1.0], [2.0]])
    """
    p = _checked("points", points)
    q = p if queries is None else _checked("queries", queries).to(p.device)
    if q.shape[1] != p.shape[1]:
        raise ValueError(f"nearest_neighbours: queries have {q.shape[1]} dimensions, points {p.shape[1]}, not as many")
    if k < 0 or metric not in ("l2", "cosine"):
        raise ValueError(f"nearest_neighbours: got k={k}, metric={metric!r}; expected k >= 0, 'l2' or 'cosine'")
    skip_self = exclude_self and queries is None
    k = max(0, min(k, len(p) - skip_self))
    if k == 0 or len(q) == 0:
        return q.new_empty((len(q), k), dtype=torch.int64), q.new_empty((len(q), k), dtype=torch.float32)
    p, q, scale = _prepared(p, q, metric)
    index, distance = _search(p, q, k, skip_self, metric)
    return index, distance if metric == "cosine" else distance.sqrt_().mul_(scale)


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


def _prepared(p: Tensor, q: Tensor, metric: Metric) -> tuple[Tensor, Tensor, float]:
    """Points and queries, float32, as they are searched, and the factor that undoes their scaling."""
    if metric == "cosine":
        unit = [torch.nn.functional.normalize(x / x.abs().amax(1, keepdim=True).clamp_min(1e-30)) for x in (p, q)]
        return unit[0].float(), unit[1].float(), 1.0
    # The expansion |a|^2 + |b|^2 - 2 a.b loses all digits far from the origin, and squares overflow: centre and scale.
    centre = p.mean(0)
    same = q is p
    p = p - centre
    q = p if same else q - centre
    largest = float(torch.maximum(p.abs().max(), q.abs().max()))
    scale = 2.0 ** np.frexp(largest)[1] if largest > 0 else 1.0  # a power of two: exact
    p = (p / scale).float()
    return p, p if same else (q / scale).float(), float(scale)


def _search(p: Tensor, q: Tensor, k: int, skip_self: bool, metric: Metric) -> tuple[Tensor, Tensor]:
    """Indices and, for l2 squared, distances (m, k), in rounds: rows with an open tie get more candidates."""
    n, m = len(p), len(q)
    propose = _proposer(p, metric, n * m)
    index, distance = p.new_empty((m, k), dtype=torch.int64), p.new_empty((m, k))
    rows = torch.arange(m, device=p.device)
    count = k + skip_self + 1
    while len(rows):
        own = rows if skip_self else None
        if count >= min(n, 4 * k + 64):
            found = _exhaustive(p, q[rows], k, own, metric)
            index[rows], distance[rows] = found
            break
        candidates, reach = propose(q[rows], count)
        index[rows], distance[rows] = _ranked(p, q[rows], candidates, k, own, metric)
        rows = rows[reach <= distance[rows, -1] * (1 + 1e-5)]
        count = 2 * count + 8
    return index, distance


def _proposer(p: Tensor, metric: Metric, pairs: int) -> Callable[[Tensor, int], tuple[Tensor, Tensor]]:
    """A function (queries, count) -> candidates (m, count) and a distance (m,) below which none is missing."""
    if p.device.type != "cpu":
        return lambda q, count: _propose_torch(p, q, count, metric)
    if metric == "l2" and p.shape[1] <= TREE_DIMENSIONS:
        return _tree_proposer(p)
    faiss = None if pairs <= FEW_PAIRS else load_faiss()
    if faiss is None:
        return lambda q, count: _propose_torch(p, q, count, metric)
    flat = (faiss.IndexFlatIP if metric == "cosine" else faiss.IndexFlatL2)(p.shape[1])
    flat.add(np.ascontiguousarray(p.numpy()))

    def propose(q: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Candidates (m, count), and the distance (m,) below which none is missing."""
        faiss.omp_set_num_threads(torch.get_num_threads())
        score, candidates = flat.search(np.ascontiguousarray(q.numpy()), count)
        last = torch.from_numpy(score[:, -1])
        return torch.from_numpy(candidates), (1 - last if metric == "cosine" else last) - _rounding(p, q)

    return propose


def _rounding(p: Tensor, q: Tensor) -> Tensor:
    """How far off a squared distance or a cosine by matrix product may be, (m,)."""
    return 1e-6 * (q.square().sum(1) + p.square().sum(1).max())


def _tree_proposer(p: Tensor) -> Callable[[Tensor, int], tuple[Tensor, Tensor]]:
    from scipy.spatial import cKDTree  # 0.2 s to import

    tree = cKDTree(p.double().numpy())

    def propose(q: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Candidates (m, count), and the distance (m,) below which none is missing."""
        distance, candidates = tree.query(q.double().numpy(), k=count, workers=torch.get_num_threads())
        return torch.from_numpy(candidates), torch.from_numpy(distance[:, -1] ** 2).float()

    return propose


def _propose_torch(p: Tensor, q: Tensor, count: int, metric: Metric) -> tuple[Tensor, Tensor]:
    candidates, reach = [], []
    for part in q.split(max(1, CHUNK // len(p))):
        near = part @ p.T if metric == "cosine" else torch.cdist(part, p).square_().neg_()
        top = near.topk(count, dim=1)
        candidates.append(top.indices)
        reach.append((1.0 if metric == "cosine" else 0.0) - top.values[:, -1] - _rounding(p, part))
    return torch.cat(candidates), torch.cat(reach)


def _exhaustive(p: Tensor, q: Tensor, k: int, own: Tensor | None, metric: Metric) -> tuple[Tensor, Tensor]:
    every = torch.arange(len(p), device=p.device)
    return _ranked(p, q, every.expand(len(q), -1), k, own, metric)


def _ranked(
    p: Tensor, q: Tensor, candidates: Tensor, k: int, own: Tensor | None, metric: Metric
) -> tuple[Tensor, Tensor]:
    """The first k of the candidates (m, c) by (distance, index), without the point `own` (m,) of each row."""
    size = max(1, CHUNK // (candidates.shape[1] * max(1, p.shape[1])))
    keys = []
    for start in range(0, len(q), size):
        part = candidates[start : start + size]  # (r, c)
        a, b = q[start : start + size].unsqueeze(1), p[part.reshape(-1)].view(*part.shape, -1)  # (r, 1, d), (r, c, d)
        far = (1 - (a * b).sum(-1)).clamp_min(0) if metric == "cosine" else b.sub_(a).square_().sum(-1)  # (r, c)
        if own is not None:
            far.masked_fill_(part == own[start : start + size].unsqueeze(1), torch.inf)
        # The bits of a non-negative float sort as an integer: one sort ranks by distance, then by index.
        key = ((far + 0.0).view(torch.int32).long() << 32) | part
        keys.append(key.topk(k, dim=1, largest=False, sorted=True).values)
    key = torch.cat(keys)
    return key & 0xFFFFFFFF, (key >> 32).int().view(torch.float32)
