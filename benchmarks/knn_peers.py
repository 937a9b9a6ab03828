"""The searches that `speed_knn` compares, each from points in float32 to indices.

They run with as many threads as torch. What they return may contain the point that asks; `pixgraph` alone removes it,
breaks ties by index and computes distances from differences: the others are not charged for that.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from knn_data import Case

from pixgraph.graph.approximate_neighbours import approximate_neighbours
from pixgraph.graph.neighbours import nearest_neighbours

Run = Callable[[np.ndarray, np.ndarray, Case], np.ndarray]
"""(points (n, d), rows (m,), case) -> indices (m, k or more)."""


@dataclass(frozen=True)
class Method:
    """One way to search.

    Attributes:
        run: The search.
        exact: Whether it finds all neighbours.
        needs: Module that must be installed.
        whole: It can only build the graph of all points.
        matrix: It keeps the matrix of all pairs.
    """

    run: Run
    exact: bool = True
    needs: str = "torch"
    whole: bool = False
    matrix: bool = False

    def refuses(self, case: Case) -> str | None:
        """Why it cannot be asked for this, or `None`."""
        if importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} is not installed"
        if self.whole and not case.whole:
            return "only builds the graph of all points"
        needed = 12 * case.n * case.queries / 2**30  # the matrix, and its sorting
        return f"{needed:.0f} GiB for all pairs" if self.matrix and needed > 2 else None


def count_of(case: Case) -> int:
    """How many to ask for where the point itself is found, too."""
    return case.k + case.whole


def ours(x: np.ndarray, rows: np.ndarray, case: Case) -> np.ndarray:
    """`nearest_neighbours`, whole contract."""
    points = torch.from_numpy(x)
    return nearest_neighbours(points, case.k, None if case.whole else points[rows])[0].numpy()


def ours_about(x: np.ndarray, rows: np.ndarray, case: Case) -> np.ndarray:
    """`approximate_neighbours` with an inverted file, its recall measured each time."""
    points = torch.from_numpy(x)
    return approximate_neighbours(points, case.k, None if case.whole else points[rows], method="ivf").index.numpy()


def scipy_tree(x: np.ndarray, rows: np.ndarray, case: Case, **options: Any) -> np.ndarray:
    """SciPy's k-d tree, in double precision, which is all it has."""
    from scipy.spatial import cKDTree

    points = x.astype(np.float64)
    tree = cKDTree(points, **options)
    asked = points if case.whole else points[rows]
    return tree.query(asked, count_of(case), workers=torch.get_num_threads())[1].reshape(len(rows), -1)


def tuned_scipy_tree(x: np.ndarray, rows: np.ndarray, case: Case) -> np.ndarray:
    """The same, built as pixgraph builds it."""
    return scipy_tree(x, rows, case, leafsize=24, balanced_tree=False)


def torch_product(x: np.ndarray, rows: np.ndarray, case: Case) -> np.ndarray:
    """Matrix product and top k of whole rows, in chunks of 2^20 pairs."""
    points = torch.from_numpy(x)
    squares, found = points.square().sum(1), []
    for part in (points if case.whole else points[rows]).split(max(16, 2**20 // len(points))):
        near = torch.addmm(squares, part, points.T, alpha=-2)
        found.append(near.topk(count_of(case), dim=1, largest=False).indices)
    return torch.cat(found).numpy()


def faiss_index(kind: str) -> Run:
    """FAISS: "flat", "hnsw" (32 links, efSearch 64) or "ivf" (sqrt(n) lists, a sixteenth of them visited, or 8)."""

    def run(x: np.ndarray, rows: np.ndarray, case: Case) -> np.ndarray:
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        index: faiss.Index
        if kind == "hnsw":
            index = faiss.IndexHNSWFlat(case.d, 32)
            index.hnsw.efSearch = 64
        elif kind == "ivf":
            lists = min(round(case.n**0.5), case.n // 39)
            index = faiss.IndexIVFFlat(faiss.IndexFlatL2(case.d), case.d, lists)
            index.nprobe = max(8, lists // 16)
            index.train(x)
        else:
            index = faiss.IndexFlatL2(case.d)
        index.add(x)
        return index.search(x if case.whole else x[rows], count_of(case))[1]

    return run


def dgl_graph(algorithm: str) -> Run:
    """`dgl.knn_graph`, or `dgl.knn` where not all points ask."""

    def run(x: np.ndarray, rows: np.ndarray, case: Case) -> np.ndarray:
        import dgl

        points = torch.from_numpy(x)
        if case.whole:
            graph = dgl.knn_graph(points, case.k, algorithm=algorithm, exclude_self=True)
            source, target = graph.edges(order="eid")
            return _by_row(source.numpy(), target.numpy(), case)
        asked = points[rows]
        near = dgl.transforms.functional.knn(case.k, points, [len(points)], asked, [len(asked)], algorithm=algorithm)
        return near[1].view(len(asked), case.k).numpy()

    return run


def _by_row(source: np.ndarray, target: np.ndarray, case: Case) -> np.ndarray:
    """Sources of the edges of each target; -1 where there are fewer than k."""
    if len(target) == case.n * case.k and (target.reshape(case.n, -1) == np.arange(case.n)[:, None]).all():
        return source.reshape(case.n, case.k)
    order = np.argsort(target, kind="stable")
    source, target = source[order], target[order]
    place = np.arange(len(target)) - np.searchsorted(target, target)
    found = np.full((case.n, case.k), -1, np.int64)
    kept = place < case.k
    found[target[kept], place[kept]] = source[kept]
    return found


def sklearn_neighbours(algorithm: str) -> Run:
    """scikit-learn's `NearestNeighbors`."""

    def run(x: np.ndarray, rows: np.ndarray, case: Case) -> np.ndarray:
        from sklearn.neighbors import NearestNeighbors

        made = NearestNeighbors(n_neighbors=count_of(case), algorithm=algorithm, n_jobs=torch.get_num_threads())
        return made.fit(x).kneighbors(x if case.whole else x[rows], return_distance=False)

    return run


def nn_descent(x: np.ndarray, rows: np.ndarray, case: Case) -> np.ndarray:
    """PyNNDescent's graph of all points."""
    from pynndescent import NNDescent

    made = NNDescent(x, n_neighbors=count_of(case), random_state=0, n_jobs=torch.get_num_threads())
    return made.neighbor_graph[0]


METHODS = {
    "pixgraph": Method(ours),
    "scipy k-d tree": Method(scipy_tree, needs="scipy"),
    "scipy k-d tree, tuned": Method(tuned_scipy_tree, needs="scipy"),
    "FAISS flat": Method(faiss_index("flat"), needs="faiss"),
    "torch product + topk": Method(torch_product),
    "dgl bruteforce": Method(dgl_graph("bruteforce"), needs="dgl"),
    "dgl bruteforce-blas": Method(dgl_graph("bruteforce-blas"), needs="dgl", whole=True, matrix=True),
    "dgl kd-tree": Method(dgl_graph("kd-tree"), needs="dgl"),
    "sklearn brute": Method(sklearn_neighbours("brute"), needs="sklearn"),
    "sklearn kd_tree": Method(sklearn_neighbours("kd_tree"), needs="sklearn"),
    "sklearn ball_tree": Method(sklearn_neighbours("ball_tree"), needs="sklearn"),
    "pixgraph, approximate": Method(ours_about, exact=False, needs="faiss"),
    "FAISS IVF": Method(faiss_index("ivf"), exact=False, needs="faiss"),
    "FAISS HNSW": Method(faiss_index("hnsw"), exact=False, needs="faiss"),
    "dgl nn-descent": Method(dgl_graph("nn-descent"), exact=False, needs="dgl", whole=True),
    "PyNNDescent": Method(nn_descent, exact=False, needs="pynndescent", whole=True),
}
"""Every search by its name in the tables; `dgl.knn_graph`'s bruteforce-sharemem runs on GPUs only."""
