"""Nearest neighbours against a brute-force oracle, on every engine, with ties, duplicates and the degenerate sizes."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from pixgraph.errors import DataError, DependencyError
from pixgraph.graph import faiss_backend, neighbour_engines, neighbour_tree, neighbours, row_workers
from pixgraph.graph.neighbours import nearest_neighbours


def oracle(points, k, queries=None, exclude_self=True, metric="l2"):
    """Distances by broadcasting in float64, stable sort by (distance, index)."""
    p = np.asarray(points, dtype=np.float64)
    q = p if queries is None else np.asarray(queries, dtype=np.float64)
    if metric == "cosine":
        unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (p, q)]
        far = 1 - unit[1] @ unit[0].T
    else:
        far = np.sqrt(((q[:, None] - p[None]) ** 2).sum(-1))
    far = np.round(far, 5)
    if queries is None and exclude_self:
        np.fill_diagonal(far, np.inf)
    available = len(p) - (queries is None and exclude_self)
    order = np.argsort(far, axis=1, kind="stable")[:, : min(k, available)]
    return order, np.take_along_axis(far, order, axis=1)


@pytest.fixture(params=["tree-or-faiss", "torch"])
def engine(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(neighbour_engines, "TREE_DIMENSIONS", 0)
        monkeypatch.setattr(neighbour_engines, "load_faiss", lambda: None)
    else:
        monkeypatch.setattr(neighbour_tree, "SORT_FROM", 0)
    return request.param


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("d", [1, 3, 8, 9, 40])
def test_equals_brute_force(engine, metric, d):
    x = np.random.default_rng(d).normal(size=(150, d)).astype(np.float32)
    index, distance = nearest_neighbours(x, 7, metric=metric)
    _, far = oracle(x, 7, metric=metric)
    np.testing.assert_allclose(distance.numpy(), far, atol=2e-5)
    every, all_far = oracle(x, 149, metric=metric)
    rank = np.argsort(every, axis=1)  # of each other point; the own index is missing from `every`
    place = np.where(index.numpy() > np.arange(150)[:, None], index.numpy() - 1, index.numpy())
    true = np.take_along_axis(all_far, np.take_along_axis(rank, place, axis=1), axis=1)
    np.testing.assert_allclose(true, far, atol=2e-5)
    assert index.dtype == torch.int64
    assert distance.dtype == torch.float32


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_other_queries_keep_equal_points(engine, metric):
    p = np.random.default_rng(0).normal(size=(60, 12)).astype(np.float32)
    index, distance = nearest_neighbours(p, 3, queries=p[10:20], metric=metric)
    assert index[:, 0].tolist() == list(range(10, 20))
    np.testing.assert_allclose(distance[:, 0], 0, atol=1e-6)


@pytest.mark.parametrize("d", [2, 20])
def test_ties_go_to_the_smaller_index(engine, d):
    """A lattice: every distance is shared by many points, also at the k-th place."""
    rows, cols = np.divmod(np.arange(400), 20)
    x = np.zeros((400, d), dtype=np.float32)
    x[:, 0], x[:, 1] = rows, cols
    for k in (1, 3, 6, 11):
        index, _ = nearest_neighbours(x, k)
        np.testing.assert_array_equal(index.numpy(), oracle(x, k)[0])


@pytest.mark.parametrize("d", [2, 16])
def test_duplicates_lose_only_themselves(engine, d):
    x = np.full((300, d), 0.25, dtype=np.float32)
    index, distance = nearest_neighbours(x, 4)
    assert index[0].tolist() == [1, 2, 3, 4]
    assert index[2].tolist() == [0, 1, 3, 4]
    assert index[299].tolist() == [0, 1, 2, 3]
    assert distance.max() == 0


def test_many_duplicates_beside_distinct_points(engine):
    rng = np.random.default_rng(3)
    x = np.concatenate([np.ones((200, 10)), rng.normal(size=(50, 10))]).astype(np.float32)
    x = x[rng.permutation(250)]
    np.testing.assert_array_equal(nearest_neighbours(x, 5)[0].numpy(), oracle(x, 5)[0])


@pytest.mark.parametrize("d", [3, 16])
def test_k_beyond_the_points_gives_what_there_is(engine, d):
    x = np.random.default_rng(1).normal(size=(5, d))
    index, distance = nearest_neighbours(x, 9)
    assert index.shape == distance.shape == (5, 4)
    assert all(sorted([i, *row]) == list(range(5)) for i, row in enumerate(index.tolist()))
    assert nearest_neighbours(x, 9, exclude_self=False)[0].shape == (5, 5)
    assert nearest_neighbours(x, 9, queries=x[:2])[0].shape == (2, 5)


@pytest.mark.parametrize("d", [3, 16])
def test_degenerate_sizes(engine, d):
    assert nearest_neighbours(np.zeros((1, d)), 3)[0].shape == (1, 0)
    assert nearest_neighbours(np.zeros((0, d)), 3)[0].shape == (0, 0)
    assert nearest_neighbours(np.zeros((0, d)), 3, queries=np.zeros((4, d)))[0].shape == (4, 0)
    assert nearest_neighbours(np.zeros((4, d)), 3, queries=np.zeros((0, d)))[0].shape == (0, 3)
    assert nearest_neighbours(np.zeros((4, d)), 0)[1].shape == (4, 0)


@pytest.mark.parametrize("d", [3, 16])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_far_from_the_origin_and_at_any_scale(engine, d, scale):
    x = np.random.default_rng(2).normal(size=(80, d))
    base, distance = nearest_neighbours(x, 5)
    np.testing.assert_array_equal(nearest_neighbours(x + 1e4, 5)[0], base)
    scaled, far = nearest_neighbours(x * scale, 5)
    np.testing.assert_array_equal(scaled, base)
    np.testing.assert_allclose(far / scale, distance, rtol=1e-5)


def test_zero_vectors_have_cosine_distance_one(engine):
    x = np.random.default_rng(4).normal(size=(30, 12))
    x[7] = 0
    index, distance = nearest_neighbours(x, 4, metric="cosine")
    assert index[7].tolist() == [0, 1, 2, 3]
    assert distance[7].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("d", [5, 24])
def test_permuting_the_points_permutes_the_answer(engine, d):
    rng = np.random.default_rng(5)
    x, order = rng.normal(size=(100, d)), rng.permutation(100)
    index, _ = nearest_neighbours(x, 6)
    permuted, _ = nearest_neighbours(x[order], 6)
    np.testing.assert_array_equal(order[permuted.numpy()], index.numpy()[order])


@pytest.mark.parametrize("d", [5, 48])
def test_number_of_threads_changes_nothing(d):
    x = torch.from_numpy(np.random.default_rng(6).normal(size=(700, d))).float()
    x[::3] = (x[::3] * 2).round() / 2  # many ties
    threads = torch.get_num_threads()
    try:
        found = []
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found.append(nearest_neighbours(x, 8))
    finally:
        torch.set_num_threads(threads)
    for index, distance in found[1:]:
        assert torch.equal(index, found[0][0])
        assert torch.equal(distance, found[0][1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_what_is_not_finite(bad):
    x = np.zeros((6, 3))
    x[4, 1] = bad
    with pytest.raises(DataError, match="1 of 6 points hold NaN or infinity, expected finite numbers"):
        nearest_neighbours(x, 2)
    with pytest.raises(DataError, match="1 of 6 queries hold NaN"):
        nearest_neighbours(np.zeros((3, 3)), 2, queries=x)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_without_coordinates_all_are_equally_near(metric):
    index, distance = nearest_neighbours(np.zeros((100, 0)), 2, metric=metric)
    assert index[[0, 1, 99]].tolist() == [[1, 2], [0, 2], [0, 1]]
    assert distance.unique().tolist() == [0.0 if metric == "l2" else 1.0]


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match=r"points of shape \(3,\), expected \(n, d\)"):
        nearest_neighbours(np.zeros(3), 1)
    with pytest.raises(ValueError, match="queries have 4 dimensions, points 3"):
        nearest_neighbours(np.zeros((3, 3)), 1, queries=np.zeros((3, 4)))
    with pytest.raises(ValueError, match="k=-1"):
        nearest_neighbours(np.zeros((3, 3)), -1)
    with pytest.raises(ValueError, match="metric='l1'"):
        nearest_neighbours(np.zeros((3, 3)), 1, metric="l1")


def test_two_faiss_packages_are_refused(monkeypatch):
    class Installed:
        def __init__(self, name):
            self.metadata = {"Name": name}

    monkeypatch.setattr(faiss_backend.metadata, "distributions", lambda name: [Installed(name)])
    faiss_backend.load_faiss.cache_clear()
    try:
        with pytest.raises(DependencyError, match="faiss-cpu and faiss-gpu are both installed"):
            faiss_backend.load_faiss()
    finally:
        faiss_backend.load_faiss.cache_clear()


def test_works_without_faiss():
    code = (
        "import sys; sys.modules['faiss'] = None\n"
        "import torch; from pixgraph.graph.neighbours import load_faiss, nearest_neighbours\n"
        "assert load_faiss() is None\n"
        "print(nearest_neighbours(torch.eye(20)[:3], 1)[0].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[[1], [0], [0]]", done.stderr


def test_what_cannot_fit_is_refused_before_it_is_tried(monkeypatch):
    monkeypatch.setattr(neighbours, "free_bytes", lambda device: 2**30)
    x = torch.zeros(1, 3).expand(50_000_000, 3)
    with pytest.raises(DataError, match=r"8 neighbours of 50000000 queries .* need about 2\d\.\d GiB, 1\.0 GiB are"):
        neighbours.check_size(x, len(x), 8)
    x = torch.zeros(1, 0).expand(2**31, 0)
    with pytest.raises(DataError, match="got 2147483648 points, expected at most 2147483647"):
        neighbours.check_size(x, 1, 8)


@pytest.mark.parametrize(("n", "count"), [(10_007, 5), (12_288, 9), (40_000, 33), (50, 7)])
def test_smallest_of_long_rows_equals_a_sort(n, count, monkeypatch):
    x = torch.from_numpy(np.random.default_rng(n).normal(size=(6, n))).float()
    x[3] = 1.0
    x[4, -3:] = -9.0
    best = neighbour_engines.smallest(x, count)
    assert torch.equal(best.values, x.sort(dim=1).values[:, :count])
    assert torch.equal(x.gather(1, best.indices), best.values)
    assert all(len(set(row)) == count for row in best.indices.tolist())


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("d", [4, 40])
def test_many_points_on_every_engine(engine, d, metric):
    """More points than a tile, so that heaps go on from tile to tile and long rows are picked by groups."""
    rng = np.random.default_rng(d)
    p = (rng.normal(size=(10_500, d)) * rng.random((10_500, 1))).astype(np.float32)
    index, distance = nearest_neighbours(p, 6, queries=p[5000:5040], metric=metric)
    _, far = oracle(p, 6, p[5000:5040], metric=metric)
    np.testing.assert_allclose(distance.numpy(), far, atol=2e-5)
    assert index[:, 0].tolist() == list(range(5000, 5040))


def test_threads_are_put_back(monkeypatch):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        seen = row_workers.map_blocks(lambda rows: torch.get_num_threads(), 10, 5)
        assert list(seen) == [1, 1]
        assert torch.get_num_threads() == 2
        with row_workers.calls_on_one_thread():
            assert (torch.get_num_threads(), row_workers.worker_threads()) == (1, 2)
            assert (
                list(row_workers.map_blocks(lambda rows: threading.get_ident(), 10, 5)) != [threading.get_ident()] * 2
            )
        assert torch.get_num_threads() == row_workers.worker_threads() == 2
        with pytest.raises(ZeroDivisionError, match="division"):
            row_workers.map_blocks(lambda rows: 1 // rows.start, 10, 5)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_a_coarser_matrix_product_changes_nothing(precision, engine):
    """Where products are rounded to bfloat16 or TF32, more candidates are checked."""
    x = np.random.default_rng(9).normal(size=(400, 16)).astype(np.float32)
    expected = nearest_neighbours(x, 5)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        found = nearest_neighbours(x, 5)
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(found[0], expected[0])
