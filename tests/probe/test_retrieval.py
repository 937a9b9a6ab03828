import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.probe import retrieval
from pixgraph.probe.retrieval import Hits, Query, draw_queries, hit_rates, search
from pixgraph.probe.units import Units


def make(vectors, classes=None, pure=None):
    """Units of a picture of one row of pixels."""
    vectors = np.asarray(vectors, np.float32)
    vectors = np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    count = len(vectors)
    if classes is not None:
        classes = np.asarray(classes)
        pure = np.ones(count, bool) if pure is None else np.asarray(pure)
    return Units(vectors, np.arange(count)[None], np.zeros((count, 2)), classes, pure)


def world(seed, pictures=5, units=4, classes=True):
    """Pictures of random vectors, of two classes and some unknown units."""
    rng = np.random.default_rng(seed)
    return [
        make(rng.normal(size=(units, 6)), rng.choice([1, 2, 255], units) if classes else None) for _ in range(pictures)
    ]


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize("a_picture", [1, 3])
def test_equals_brute_force(monkeypatch, library, a_picture):
    if not library:
        monkeypatch.setattr(retrieval, "load_faiss", lambda: None)
    pictures = world(0)
    queries = [Query(0, 1, None), Query(3, 2, None), Query(4, 0, None)]
    found = search(pictures.__getitem__, queries, range(5), 4, a_picture)
    for row, query in enumerate(queries):
        vector = pictures[query.picture].vectors[query.unit]
        expected = []
        for number, units in enumerate(pictures):
            if number != query.picture:
                best = sorted(((float(v @ vector), number, u) for u, v in enumerate(units.vectors)), reverse=True)
                expected += best[:a_picture]
        expected = sorted(expected, reverse=True)[:4]
        assert np.allclose(found.similarity[row], [e[0] for e in expected], atol=1e-5)
        assert found.picture[row].tolist() == [e[1] for e in expected]
        assert found.unit[row].tolist() == [e[2] for e in expected]
        kinds = [int(pictures[p].classes[u]) for _, p, u in expected]
        assert found.kind[row].tolist() == kinds


@given(st.integers(0, 10**6), st.permutations(range(5)))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_pictures_does_not_matter(seed, order):
    pictures = world(seed)
    queries = [Query(2, 0, None)]
    one = search(pictures.__getitem__, queries, range(5), 3)
    other = search(pictures.__getitem__, queries, order, 3)
    assert one.picture.tolist() == other.picture.tolist()
    assert one.searched.tolist() == other.searched.tolist()


def test_a_planted_cluster_is_found():
    rng = np.random.default_rng(0)
    axis = np.eye(8)
    pictures = [make(np.concatenate([rng.normal(size=(5, 8)), 9 * axis[:1]])) for _ in range(6)]
    found = search(pictures.__getitem__, [Query(0, 5, None)], range(6), 5)
    assert sorted(found.picture[0].tolist()) == [1, 2, 3, 4, 5]
    assert (found.unit == 5).all()
    assert np.allclose(found.similarity, 1, atol=1e-5)


def test_fewer_pictures_than_answers():
    pictures = world(1, pictures=3)
    found = search(pictures.__getitem__, [Query(0, 0, None)], range(3), 5)
    assert found.picture[0, 2:].tolist() == [-1, -1, -1]
    assert sorted(found.picture[0, :2].tolist()) == [1, 2]
    assert np.isneginf(found.similarity[0, 2:]).all()
    assert found.kind[0, 2:].tolist() == [255, 255, 255]


def test_hit_rates_and_chance_by_hand():
    queries = [Query(0, 0, 1), Query(0, 1, 1), Query(0, 2, 2), Query(0, 3, 3)]
    kind = np.array([[1, 1, 2, 255], [2, 2, 2, 1], [2, 1, 255, 255], [255] * 4])
    zeros = np.zeros((4, 4), np.int64)
    searched = np.bincount([1, 1, 1, 2], minlength=256)
    hits = Hits(zeros.astype(np.float32), zeros, zeros, kind, searched)
    assert hit_rates(queries, hits) == {1: (pytest.approx((2 / 3 + 1 / 4) / 2), 2), 2: (0.5, 1)}
    assert (hits.chance(1), hits.chance(2)) == (0.75, 0.25)


def test_random_vectors_hit_by_chance():
    rng = np.random.default_rng(3)
    pictures = [make(rng.normal(size=(20, 16)), rng.choice([1, 2], 20, p=[0.75, 0.25])) for _ in range(60)]
    queries = draw_queries(pictures.__getitem__, range(60), 100, 0)
    rates = hit_rates(queries, hits := search(pictures.__getitem__, queries, range(60), 10))
    for kind in (1, 2):
        assert rates[kind][0] == pytest.approx(hits.chance(kind), abs=0.05)


def test_queries_are_pure_seeded_and_of_many_pictures():
    pictures = [make(np.ones((3, 2)), [1, 2, 255], [True, i % 2 == 0, True]) for i in range(8)]
    queries = draw_queries(pictures.__getitem__, range(8), 4, 0)
    assert [q.kind for q in queries] == [1] * 4 + [2] * 4
    assert all(pictures[q.picture].pure[q.unit] and pictures[q.picture].classes[q.unit] == q.kind for q in queries)
    for kind in (1, 2):
        assert len({q.picture for q in queries if q.kind == kind}) == 4
    assert queries == draw_queries(pictures.__getitem__, range(8), 4, 0)
    assert queries != draw_queries(pictures.__getitem__, range(8), 4, 1)


def test_few_pictures_give_several_queries_each():
    pictures = [make(np.ones((6, 2)), [1] * 6)]
    assert len({q.unit for q in draw_queries(pictures.__getitem__, range(1), 5, 0)}) == 5


def test_without_masks_any_unit_may_ask():
    pictures = world(0, classes=False)
    queries = draw_queries(pictures.__getitem__, range(5), 3, 0)
    assert [q.kind for q in queries] == [None] * 3
    assert hit_rates(queries, search(pictures.__getitem__, queries, range(5), 2)) == {}


def test_neighbours_in_time_are_not_searched():
    pictures = world(2, pictures=6)
    order = {0: 5, 1: 0, 2: 4, 3: 1, 4: 2, 5: 3}
    found = search(pictures.__getitem__, [Query(2, 0, None)], range(6), 6, order=order, apart=1)
    assert sorted(found.picture[0].tolist()) == [-1, -1, -1, 1, 3, 4]  # 2 itself, 0 and 5 beside it
