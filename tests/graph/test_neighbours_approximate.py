"""Approximate neighbours: the contract of the exact ones, but for what they miss, and a recall that is true."""

import numpy as np
import pytest
import torch

from pixgraph.errors import DataError, DependencyError
from pixgraph.graph import approximate_neighbours as module
from pixgraph.graph.approximate_neighbours import approximate_neighbours
from pixgraph.graph.neighbours import nearest_neighbours

METHODS = ["hnsw", "ivf"]


def clustered(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(20, d))[rng.integers(20, size=n)] + 0.3 * rng.normal(size=(n, d))).astype(np.float32)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("method", METHODS)
def test_finds_nearly_all_and_measures_it(method, metric):
    x = clustered(3000, 24)
    found = approximate_neighbours(x, 8, method=method, metric=metric, sample=3000)
    exact, far = nearest_neighbours(x, 8, metric=metric)
    overlap = np.mean([len(set(a) & set(b)) / 8 for a, b in zip(exact.tolist(), found.index.tolist(), strict=True)])
    assert found.recall == pytest.approx(overlap, abs=2e-3)
    assert found.recall > 0.95
    same = found.index == exact
    torch.testing.assert_close(found.distance[same], far[same], atol=1e-5, rtol=1e-5)
    assert (found.distance >= far - 1e-5).all()
    assert (found.distance.diff(dim=1) >= 0).all()
    assert not (found.index == torch.arange(3000)[:, None]).any()
    assert all(len(set(row)) == 8 for row in found.index.tolist())


@pytest.mark.parametrize("method", METHODS)
def test_more_effort_misses_less(method):
    x = clustered(4000, 32)
    few, many = (approximate_neighbours(x, 10, method=method, effort=e, sample=4000) for e in (1, 400))
    assert few.recall < many.recall
    assert many.recall > 0.99


@pytest.mark.parametrize("method", METHODS)
def test_the_same_call_gives_the_same_answer(method):
    x = clustered(1500, 12)
    one, other = (approximate_neighbours(x, 5, method=method, seed=3, sample=50) for _ in range(2))
    assert torch.equal(one.index, other.index)
    assert one.recall == other.recall


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_the_index_cannot_fill_are_searched_exactly(method, monkeypatch):
    x = clustered(400, 6)
    original = module._index

    class Broken:
        def __init__(self, made):
            self.made = made

        def search(self, q, count):
            far, index = self.made.search(q, count)
            index[::2, 1:] = -1
            return far, index

    monkeypatch.setattr(module, "_index", lambda *a: Broken(original(*a)))
    found = approximate_neighbours(x, 4, method=method)
    exact, _ = nearest_neighbours(x, 4)
    assert torch.equal(found.index[::2], exact[::2])
    assert (found.index >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_duplicates_lose_only_themselves_and_k_may_exceed_the_points(method):
    same = approximate_neighbours(np.ones((100, 3)), 5, method=method)
    assert same.distance.max() == 0
    assert same.recall == 1
    assert not (same.index == torch.arange(100)[:, None]).any()
    few = approximate_neighbours(clustered(6, 4), 9, method=method)
    assert all(sorted([i, *row]) == list(range(6)) for i, row in enumerate(few.index.tolist()))
    assert approximate_neighbours(np.zeros((1, 4)), 3, method=method).index.shape == (1, 0)
    assert approximate_neighbours(np.zeros((9, 0)), 2, method=method).index[8].tolist() == [0, 1]
    x = clustered(300, 8)
    asked = approximate_neighbours(x, 1, queries=x[40:50], method=method, effort=200)
    assert asked.index[:, 0].tolist() == list(range(40, 50))


def test_refuses_mistakes(monkeypatch):
    with pytest.raises(ValueError, match=r"got method='lsh'.*expected 'hnsw' or 'ivf'"):
        approximate_neighbours(np.zeros((3, 3)), 1, method="lsh")
    with pytest.raises(ValueError, match="effort=0"):
        approximate_neighbours(np.zeros((3, 3)), 1, effort=0)
    with pytest.raises(DataError, match="1 of 3 points hold NaN"):
        approximate_neighbours([[0.0], [1.0], [np.nan]], 1)
    monkeypatch.setattr(module, "load_faiss", lambda: None)
    with pytest.raises(DependencyError, match="FAISS is not installed; run `pip install faiss-cpu`"):
        approximate_neighbours(np.zeros((3, 3)), 1)
