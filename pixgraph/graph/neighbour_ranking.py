"""Candidates ranked by (distance, index), with distances from coordinate differences.

The rank must not depend on rounding that differs between engines, so no distance of a matrix product enters it. Nearly
all rows come sorted and without ties from their engine; only the others are sorted again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

Tensor = torch.Tensor
Metric = Literal["l2", "cosine"]

TREE_DIMENSIONS = 8
"""Up to this many dimensions a k-d tree beats an exhaustive search, and distances are summed in double precision."""

CHUNK = 2**19
"""Numbers held at a time on a CPU: few enough to stay in a processor's cache."""

CHUNK_GPU = 2**26
"""Numbers held at a time on a GPU: enough to keep it busy."""


@dataclass(frozen=True)
class Candidates:
    """What an engine proposes for each of m queries.

    Attributes:
        index: (m, c) int64, nearest first as far as the engine knows.
        reach: (m,) float32, a distance below which no point is missing.
        distance: (m, c) float32, from differences.
    """

    index: Tensor
    reach: Tensor
    distance: Tensor


Engine = Callable[[Tensor, int], Candidates]
"""(queries (m, d) float32, count) -> `count` candidates of each query."""


def chunk(device: torch.device) -> int:
    """Numbers held at a time on a device."""
    return CHUNK if device.type == "cpu" else CHUNK_GPU


def rank(found: Candidates, k: int, own: Tensor | None) -> tuple[Tensor, Tensor]:
    """The first k of each row's candidates by (distance, index).

    Args:
        found: Candidates of each query, at least k without the own.
        k: How many.
        own: (m,) index of the point that each row must not contain, or `None`.

    Returns:
        Indices (m, k) int64 and distances (m, k) float32.
    """
    index, far = found.index, found.distance
    first = 0 if own is None else 1
    clean = (far[:, 1:] > far[:, :-1]).all(1)
    if own is not None:
        clean &= index[:, 0] == own
    rows = (~clean).nonzero()[:, 0]
    best, distance = index[:, first : first + k].contiguous(), far[:, first : first + k].contiguous()
    if len(rows):
        best[rows], distance[rows] = first_by_distance(index[rows], far[rows], k, None if own is None else own[rows])
    return best, distance


def rank_all(p: Tensor, q: Tensor, k: int, own: Tensor | None, metric: Metric) -> tuple[Tensor, Tensor]:
    """The first k of all points by (distance, index), as `rank` would with every point as a candidate."""
    best, distance = [], []
    every = torch.arange(len(p), device=p.device)
    step = max(1, chunk(p.device) // max(1, len(p)))
    for start in range(0, len(q), step):
        part = q[start : start + step]
        mine = None if own is None else own[start : start + step]
        index = every.expand(len(part), -1)
        far = distances(p, part, index, metric) if metric == "cosine" else _euclidean(part, p)
        found = first_by_distance(index, far, k, mine)
        best.append(found[0])
        distance.append(found[1])
    return torch.cat(best), torch.cat(distance)


def first_by_distance(index: Tensor, far: Tensor, k: int, own: Tensor | None) -> tuple[Tensor, Tensor]:
    """The first k of the candidates (r, c) by (distance, index), without the point `own` (r,) of each row."""
    if own is not None:
        far = far.masked_fill(index == own.unsqueeze(1), torch.inf)
    # The bits of a non-negative float sort as an integer: one sort ranks by distance, then by index.
    key = ((far + 0.0).view(torch.int32).long() << 32) | index
    key = key.topk(k, dim=1, largest=False, sorted=True).values
    return key & 0xFFFFFFFF, (key >> 32).int().view(torch.float32)


def distances(p: Tensor, q: Tensor, index: Tensor, metric: Metric) -> Tensor:
    """Distances (m, c) float32 of each query to its candidates (m, c)."""
    m, c = index.shape
    far = q.new_empty((m, c))
    step = max(1, chunk(p.device) // (c * max(1, p.shape[1])))
    for start in range(0, m, step):
        part = index[start : start + step]
        a, b = q[start : start + step].unsqueeze(1), p[part.reshape(-1)].view(*part.shape, -1)  # (r, 1, d), (r, c, d)
        if metric == "cosine":
            far[start : start + step] = (1 - b.mul_(a).sum(-1)).clamp_min_(0)
        else:
            far[start : start + step] = _euclidean(a, b).squeeze(1)
    return far


def pair_distances(a: Tensor, first: Tensor, b: Tensor, second: Tensor, metric: Metric) -> Tensor:
    """Distances (e,) float32 between a[first] and b[second], whose indices are (e,)."""
    step = max(1, chunk(a.device) // max(1, a.shape[1]))
    parts = []
    for start in range(0, len(first), step):
        x, y = a[first[start : start + step]], b[second[start : start + step]]
        if metric == "cosine":
            parts.append((1 - x.mul_(y).sum(1)).clamp_min_(0))
        else:
            x, y = (x.double(), y.double()) if a.shape[1] <= TREE_DIMENSIONS else (x, y)
            parts.append(torch.linalg.vector_norm(x.sub_(y), dim=1).float())
    return torch.cat(parts) if parts else a.new_empty(0)


def _euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Distances (..., r, c) float32 between rows of (..., r, d) and (..., c, d), from differences."""
    if a.shape[-1] <= TREE_DIMENSIONS:
        a, b = a.double(), b.double()
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").float()
