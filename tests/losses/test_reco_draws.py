"""ReCo's relation and draws: rows that sum to one without self, legal pixels, and the right frequencies."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.losses.reco_draws import (
    Regions,
    class_means,
    class_relation,
    draw_counts,
    draw_pixels,
    find_regions,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(2, 9), st.floats(0.01, 5), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_rows_sum_to_one_without_self(classes, t, seed):
    relation = class_relation(torch.randn(classes, 4, generator=rng(seed)), t)
    torch.testing.assert_close(relation.sum(1), torch.ones(classes))
    assert (relation.diagonal() == 0).all()
    assert (relation >= 0).all()


def test_relation_by_hand():
    """Cosines of (1, 0), (0, 2), (3, 3): 0, 1 / sqrt 2, 1 / sqrt 2."""
    relation = class_relation(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]), 0.5)
    near = math.exp(2**0.5)  # (1 / sqrt 2) / 0.5
    expected = [[0, 1 / (1 + near), near / (1 + near)], [1 / (1 + near), 0, near / (1 + near)], [0.5, 0.5, 0]]
    torch.testing.assert_close(relation, torch.tensor(expected))


def test_two_classes_are_each_others_only_negatives():
    assert class_relation(torch.randn(2, 5, generator=rng()), 0.01).tolist() == [[0, 1], [1, 0]]


def test_regions_by_hand():
    label = torch.tensor([2, 0, 255, 2, 254, 0, 2])
    valid = torch.tensor([1, 1, 1, 1, 1, 0, 1]).bool()
    probability = torch.tensor([[0, 0, 0.9], [0.97, 0, 0], [0, 0, 0], [0, 0, 0.98], [0, 0, 0], [0, 0, 0], [1, 0, 0]])
    regions = find_regions(label, valid, probability, 0.97)
    expected = ([0, 2], [1, 0, 3, 6], [1, 3], [0, 6], [0, 2])  # 0.97 is not below the threshold
    assert tuple(part.tolist() for part in regions) == expected
    means = class_means(torch.arange(14.0).view(7, 2), regions)
    torch.testing.assert_close(means, torch.tensor([[2.0, 3.0], [6.0, 7.0]]))


def test_means_of_many_pixels():
    made = np.random.default_rng(0)
    label, vectors = made.integers(5, size=400), made.standard_normal((400, 3))
    valid = made.random(400) < 0.5
    regions = find_regions(torch.from_numpy(label), torch.from_numpy(valid), torch.zeros(400, 5), 0.97)
    expected = np.stack([vectors[valid & (label == c)].mean(0) for c in range(5)])
    np.testing.assert_allclose(class_means(torch.from_numpy(vectors), regions).numpy(), expected)


@given(st.integers(2, 6), st.integers(0, 10**6), st.floats(0.02, 2))
@settings(max_examples=40, deadline=None)
def test_every_draw_is_legal(classes, seed, t):
    made = np.random.default_rng(seed)
    label = torch.from_numpy(made.choice([*range(classes), 254, 255], size=60))
    label[:classes] = torch.arange(classes)
    valid = torch.from_numpy(made.random(60) < 0.7)
    valid[:2] = True
    probability = torch.from_numpy(made.random((60, classes)))
    regions = find_regions(label, valid, probability, 0.5)
    means = torch.from_numpy(made.standard_normal((len(regions.classes), 3)))
    draws = draw_pixels(regions, class_relation(means, t), 7, 11, rng(seed))
    assert draws.negatives.shape == (len(draws.rows), 7, 11)
    own = regions.classes[draws.rows]
    assert own.tolist() == [
        c for c in regions.classes.tolist() if (valid & (label == c) & (probability[:, c] < 0.5)).any()
    ]
    assert (label[draws.queries] == own[:, None]).all()
    assert (probability[draws.queries, label[draws.queries]] < 0.5).all()
    assert valid[draws.queries].all()
    assert valid[draws.negatives].all()
    assert (label[draws.negatives] != own[:, None, None]).all()
    assert (label[draws.negatives] < 254).all()


def planted(counts=(3, 5, 2, 4)):
    counts = torch.tensor(counts)
    pixels = torch.arange(int(counts.sum()))
    return Regions(torch.arange(len(counts)), pixels, counts, pixels, counts)


def test_frequencies_follow_the_relation_and_are_uniform_within_a_class():
    """Each count within five standard deviations of the binomial."""
    regions, draws = planted(), 400 * 500
    relation = class_relation(torch.randn(4, 3, generator=rng(1)), 0.5)
    found = draw_pixels(regions, relation, 400, 500, rng())
    of_pixel = torch.arange(4).repeat_interleave(regions.counts)
    for row in range(4):
        chance = relation[row][of_pixel] / regions.counts[of_pixel]  # (14,)
        counts = torch.bincount(found.negatives[row].flatten(), minlength=14)
        assert ((counts - draws * chance).abs() <= 5 * (draws * chance).sqrt()).all()
        assert (counts[of_pixel == row] == 0).all()


def test_queries_are_uniform_over_the_hard_pixels():
    regions = planted((2, 10))._replace(hard=torch.tensor([1, 3, 5, 8]), hard_counts=torch.tensor([1, 3]))
    found = draw_pixels(regions, class_relation(torch.eye(2), 1.0), 3000, 1, rng())
    assert found.queries[0].unique().tolist() == [1]
    places, counts = found.queries[1].unique(return_counts=True)
    assert places.tolist() == [3, 5, 8]
    assert ((counts - 1000).abs() < 150).all()


def test_each_query_has_negatives_of_its_own():
    found = draw_pixels(planted(), class_relation(torch.eye(4), 1.0), 6, 40, rng())
    assert len({tuple(one) for one in found.negatives.flatten(0, 1).tolist()}) == 24


@pytest.mark.parametrize("last", [True, False])
def test_a_class_of_probability_nought_is_never_drawn(last):
    """Shares that sum to less or more than one by rounding."""
    relation = torch.full((4, 4), 1 / 3).fill_diagonal_(0)
    relation += 1e-7 * (1 if last else -1) * (relation > 0)
    found = draw_pixels(planted(), relation, 100, 200, rng())
    of_pixel = torch.arange(4).repeat_interleave(planted().counts)
    assert (of_pixel[found.negatives] != torch.arange(4)[:, None, None]).all()


@given(st.integers(2, 7), st.integers(1, 40), st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_counts_sum_to_the_draws_and_leave_out_what_has_no_share(classes, total, seed):
    made = np.random.default_rng(seed)
    shares = (
        made.random((9, classes)) * (made.random((9, classes)) < 0.6)
        + 1e-12 * np.eye(classes)[made.integers(classes, size=9)]
    )
    shares = torch.from_numpy(shares / shares.sum(1, keepdims=True)).float()
    counts = draw_counts(shares, total, rng(seed))
    assert (counts.sum(1) == total).all()
    assert (counts >= 0).all()
    assert (counts[shares == 0] == 0).all()


def test_counts_have_the_mean_and_the_spread_of_a_multinomial():
    """Within five standard errors; the covariance of two classes is -n p q."""
    shares = torch.tensor([0.5, 0.0, 0.2, 0.3])
    counts = draw_counts(shares.expand(20000, 4), 30, rng()).double()
    spread = (30 * shares * (1 - shares)).double()
    assert ((counts.mean(0) - 30 * shares).abs() <= 5 * (spread / 20000).sqrt()).all()
    covariance = torch.cov(counts.T)
    expected = torch.diag(30 * shares) - 30 * shares[:, None] * shares
    torch.testing.assert_close(covariance, expected.double(), atol=0.35, rtol=0)
