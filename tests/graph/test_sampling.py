import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.errors import ConfigError, DataError
from pixgraph.graph.sampling import STRATEGIES, sample_nodes


def mask(size=40):
    label = np.zeros((size, size), dtype=np.int64)
    label[5:15, 5:15] = 1
    label[20:30, 18:30] = 2
    label[0] = 255
    return label


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_counts_labels_and_order(strategy):
    label = mask()
    nodes = sample_nodes(label, 20, 30, strategy, 0, "a")
    assert [(nodes.label == c).sum() for c in (0, 1, 2)] == [30, 20, 20]
    assert (label[nodes.rows, nodes.cols] == nodes.label).all()
    index = nodes.rows * 40 + nodes.cols
    assert (np.diff(index) > 0).all()  # row-major, and so without repetition
    assert nodes.shortfall == {0: 0, 1: 0, 2: 0}


def test_uniform_is_the_first_of_one_permutation():
    import zlib

    label = mask()
    draw = np.random.default_rng([3, zlib.crc32(b"key")]).random(label.size)
    order = np.argsort(draw)
    expected = [i for c, n in ((0, 9), (1, 7), (2, 7)) for i in [j for j in order if label.flat[j] == c][:n]]
    nodes = sample_nodes(label, 7, 9, "uniform", 3, "key")
    assert (nodes.rows * 40 + nodes.cols).tolist() == sorted(expected)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_class_numbers_do_not_matter(strategy):
    label = mask()
    swapped = np.where(label == 1, 2, np.where(label == 2, 1, label))
    a, b = sample_nodes(label, 20, 30, strategy, 1, "a"), sample_nodes(swapped, 20, 30, strategy, 1, "a")
    assert (a.rows == b.rows).all()
    assert (a.cols == b.cols).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_small_empty_and_unknown_masks(strategy):
    one = np.zeros((8, 8), dtype=np.uint8)
    one[3, 4] = 1
    nodes = sample_nodes(one, 5, 100, strategy)
    assert nodes.shortfall == {0: 37, 1: 4}
    assert (nodes.rows[nodes.label == 1].tolist(), nodes.cols[nodes.label == 1].tolist()) == ([3], [4])
    empty = sample_nodes(np.zeros((8, 8), dtype=np.uint8), 5, 6, strategy)
    assert len(empty) == 6
    assert empty.shortfall == {0: 0}
    unknown = sample_nodes(np.full((8, 8), 255), 5, 6, strategy)
    assert len(unknown) == 0
    assert unknown.shortfall == {0: 6}


def test_seed_and_key_change_the_draw_and_nothing_else_does():
    draw = [sample_nodes(mask(), 10, 10, "uniform", s, k) for s, k in ((0, "a"), (0, "a"), (1, "a"), (0, "b"))]
    rows = [tuple(d.rows) for d in draw]
    assert rows[0] == rows[1] == tuple(sample_nodes(torch.from_numpy(mask()), 10, 10, "uniform", 0, "a").rows)
    assert len(set(rows)) == 3


def test_every_pixel_is_as_likely():
    label = np.zeros((6, 6), dtype=np.uint8)
    hits = np.zeros((6, 6))
    for seed in range(600):
        nodes = sample_nodes(label, 0, 6, "uniform", seed)
        hits[nodes.rows, nodes.cols] += 1
    assert abs(hits - 100).max() < 45  # binomial, standard deviation 9


def test_boundary_prefers_the_rim_and_farthest_spreads():
    label = np.zeros((64, 64), dtype=np.uint8)
    label[16:48, 16:48] = 1

    def to_rim(strategy):
        nodes = sample_nodes(label, 60, 0, strategy, 0, "a")
        return np.minimum(np.minimum(nodes.rows - 16, 47 - nodes.rows), np.minimum(nodes.cols - 16, 47 - nodes.cols))

    assert to_rim("boundary").mean() < 0.6 * to_rim("uniform").mean()

    def smallest_gap(strategy):
        nodes = sample_nodes(label, 20, 0, strategy, 0, "a")
        points = np.stack([nodes.rows, nodes.cols], 1).astype(float)
        distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
        return distance[~np.eye(20, dtype=bool)].min()

    assert smallest_gap("farthest") > 2 * smallest_gap("uniform")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 70), st.integers(0, 70), st.sampled_from(STRATEGIES), st.integers(0, 99))
def test_never_more_than_asked_never_twice(num_fg, num_bg, strategy, seed):
    label = np.random.default_rng(seed).choice([0, 0, 1, 2, 255], (9, 7))
    nodes = sample_nodes(label, num_fg, num_bg, strategy, seed, "k")
    for c, wanted in ((0, num_bg), (1, num_fg), (2, num_fg)):
        available = int((label == c).sum())
        assert (nodes.label == c).sum() == min(wanted, available)
        assert nodes.shortfall.get(c, 0) == (max(0, wanted - available) if c == 0 or available else 0)
    assert len(set(zip(nodes.rows, nodes.cols, strict=True))) == len(nodes)


def test_errors_say_what_was_expected():
    with pytest.raises(ConfigError, match="sampling: got 'edge', expected one of uniform, boundary, farthest"):
        sample_nodes(mask(), 1, 1, "edge")
    with pytest.raises(ConfigError, match="num_fg and num_bg: got -1 and 2"):
        sample_nodes(mask(), -1, 2)
    with pytest.raises(DataError, match=r"label of 'x': got values -1..0, expected 0..N and 255"):
        sample_nodes(np.array([[0, -1]]), 1, 1, key="x")
    with pytest.raises(DataError, match=r"expected integers \(H, W\)"):
        sample_nodes(np.zeros((3, 3)), 1, 1)
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        sample_nodes(np.zeros(3, dtype=np.int64), 1, 1)


def test_unlabelled_and_unknown_pixels_are_never_drawn():
    label = np.full((8, 8), 254, np.uint8)
    label[0, :3], label[1, :3], label[7] = 0, 1, 255
    nodes = sample_nodes(label, 10, 10)
    assert sorted(nodes.label.tolist()) == [0, 0, 0, 1, 1, 1]
    assert nodes.shortfall == {0: 7, 1: 7}
