"""Nearest neighbours by an index that may miss some, and how many it misses.

For hundreds of thousands of points in many dimensions, where `nearest_neighbours` takes minutes. Nothing in pixgraph
uses it unasked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from pixgraph.errors import DependencyError
from pixgraph.graph.faiss_backend import load_faiss
from pixgraph.graph.neighbour_ranking import Metric, distances, first_by_distance
from pixgraph.graph.neighbours import check_size, checked_pair, prepared, search

Tensor = torch.Tensor
Method = Literal["hnsw", "ivf"]

LINKS = 32
"""Links of a node of the HNSW graph, the default of its authors' library for most data."""

POINTS_A_LIST = 39
"""Fewest points for each list of an inverted file: with fewer FAISS calls its k-means unreliable."""


@dataclass(frozen=True)
class ApproximateNeighbours:
    """What was found, and the share of it that is right.

    Attributes:
        index: (m, k') int64, nearest first by (distance, index), no -1.
        distance: (m, k') float32, of exactly these points.
        recall: Share of the true neighbours that were found, in 0..1, measured on a sample of the queries; a point as
            near as the true k-th one counts.
    """

    index: Tensor
    distance: Tensor
    recall: float


def approximate_neighbours(
    points: Tensor | np.ndarray,
    k: int,
    queries: Tensor | np.ndarray | None = None,
    exclude_self: bool = True,
    metric: Metric = "l2",
    method: Method = "hnsw",
    effort: int = 64,
    sample: int = 256,
    seed: int = 0,
) -> ApproximateNeighbours:
    """About the k nearest points of each query, by FAISS.

    "hnsw" is a graph through which a search walks (Malkov and Yashunin, arXiv:1603.09320): best recall for the time of
    a query, slow to build. "ivf" clusters the points into about sqrt(n) lists and searches some of them: built fast.
    Rows that the index cannot fill are searched exactly.

    The same call gives the same answer with one thread. With several, HNSW is built in the order in which threads
    arrive, and its answer may differ a little from run to run.

    Args:
        points: (n, d) finite.
        k: How many; min(k, number of available points) are returned.
        queries: (m, d) finite; the points themselves when `None`.
        exclude_self: When the points query themselves, leave each out of its own list, by index.
        metric: "l2" or "cosine".
        method: "hnsw" or "ivf".
        effort: Candidates that a search keeps ("hnsw", its efSearch), or sixteenths of the lists' square root that it
            visits ("ivf"): more is slower and misses less.
        sample: Queries on which the recall is measured, at least 1.
        seed: Of the sample, and of the clusters.

    Raises:
        ValueError: An argument is out of range or of the wrong shape.
        DataError: A coordinate is NaN or infinite, or the search would not fit into memory.
        DependencyError: FAISS is not installed.

    Example:
        >>> found = approximate_neighbours(torch.arange(200.0).view(-1, 1), 2, method="ivf")
        >>> found.index.shape, found.recall > 0.5
        (torch.Size([200, 2]), True)
    """
    p, q = checked_pair(points, queries, k, metric)
    if method not in get_args(Method) or effort < 1 or sample < 1:
        raise ValueError(
            f"approximate_neighbours: got method={method!r}, effort={effort}, sample={sample}; expected 'hnsw' or "
            "'ivf', effort >= 1 and sample >= 1"
        )
    if load_faiss() is None:
        raise DependencyError(
            "approximate_neighbours: FAISS is not installed; run `pip install faiss-cpu`, or use nearest_neighbours"
        )
    device, skip_self = p.device, exclude_self and queries is None
    k = max(0, min(k, len(p) - skip_self))
    if k == 0 or len(q) == 0:
        empty = q.new_empty((len(q), k))
        return ApproximateNeighbours(empty.long(), empty.float(), 1.0)
    check_size(p, len(q), k)
    p, q, scale = prepared(p.cpu(), q.cpu(), metric)
    own = torch.arange(len(q)) if skip_self else None
    index, distance = _found(p, q, k, own, metric, method, effort, seed)
    rows = torch.from_numpy(np.random.default_rng(seed).choice(len(q), min(sample, len(q)), replace=False))
    _, true = search(p, q[rows], k, None if own is None else own[rows], metric)
    # 1e-5, and 1e-6 for distances near 0: the true distances come from another order of sums.
    recall = float((distance[rows] <= true[:, -1:] * (1 + 1e-5) + 1e-6).float().mean())
    return ApproximateNeighbours(index.to(device), distance.mul_(scale).to(device), recall)


def _found(
    p: Tensor, q: Tensor, k: int, own: Tensor | None, metric: Metric, method: Method, effort: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Indices and distances (m, k): what the index finds, ranked by true distances, gaps filled exactly."""
    faiss = load_faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    count = min(len(p), k + (own is not None))
    if p.shape[1] == 0 or len(p) < 2 * POINTS_A_LIST:  # no index takes these
        return search(p, q, k, own, metric)
    made = _index(faiss, p, metric, method, max(effort, count), seed)
    index = torch.from_numpy(made.search(np.ascontiguousarray(q.numpy()), count)[1])
    missing, index = index < 0, index.clamp_min(0)
    far = distances(p, q, index, metric).masked_fill_(missing, torch.inf)
    best, distance = first_by_distance(index, far, k, own)
    short = distance.isinf().any(1).nonzero()[:, 0]
    if len(short):
        best[short], distance[short] = search(p, q[short], k, None if own is None else own[short], metric)
    return best, distance


def _index(faiss: Any, p: Tensor, metric: Metric, method: Method, effort: int, seed: int) -> Any:
    """A filled FAISS index of the points (n, d)."""
    n, d = p.shape
    kind = faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
    x = np.ascontiguousarray(p.numpy())
    if method == "hnsw":
        made = faiss.IndexHNSWFlat(d, LINKS, kind)
        made.hnsw.efSearch = effort
    else:
        lists = max(1, min(round(n**0.5), n // POINTS_A_LIST))
        quantizer = faiss.IndexFlat(d, kind)
        made = faiss.IndexIVFFlat(quantizer, d, lists, kind)
        made.cp.seed = seed
        made.nprobe = min(lists, max(1, round(effort * lists**0.5 / 16)))
        made.train(x)
    made.add(x)
    return made
