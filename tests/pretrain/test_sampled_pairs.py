"""Drawn pairs against all pairs, and what becomes of views that share too little."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.pretrain.pairs import cell_centres, positive_pairs
from pixgraph.pretrain.sampled_pairs import sample_pairs

WHOLE = [0.0, 0.0, 1.0, 1.0]


def rects(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def draw(rect1, rect2, shape=(12, 10), threshold=0.7, num_pairs=20, limit=10, seed=0, rule="pixpro", index=None):
    index = torch.arange(len(rect1)) if index is None else index
    return sample_pairs(rect1, rect2, index, shape, threshold, num_pairs, limit, seed, rule)


def random_rect(rng):
    x, y = np.sort(rng.random(2)), np.sort(rng.random(2))
    x = x[::-1] if rng.random() < 0.5 else x
    return [x[0], y[0], x[1], y[1]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["pixpro", "pixelcl"]), st.sampled_from([0.3, 0.7, 2.0]))
def test_drawn_pairs_are_positive_pairs_and_all_partners_are_found(seed, rule, threshold):
    """When every near pixel is drawn and every pair kept, nothing but the pairs of these pixels is missing."""
    rng = np.random.default_rng(seed)
    rect1, rect2 = rects(random_rect(rng)), rects(random_rect(rng))
    shape = (9, 7)
    positive = positive_pairs(rect1, rect2, shape, threshold, rule)[0]
    unit = np.sqrt((1 / 9) ** 2 + (1 / 7) ** 2)
    if rule == "pixpro":
        unit = max(np.hypot(*((r[0, 2:] - r[0, :2]) / torch.tensor([7, 9])).tolist()) for r in (rect1, rect2))
    centres, r = cell_centres(rect1, shape)[0], rect2[0]
    low, high = torch.minimum(r[:2], r[2:]) - threshold * unit, torch.maximum(r[:2], r[2:]) + threshold * unit
    near = ((centres > low) & (centres < high)).all(1)
    count = int(near.sum())
    assert not positive[~near].any()  # no pixel outside has a partner
    total = int(positive.sum())
    if count == 0 or total == 0:
        assert draw(rect1, rect2, shape, threshold, 1, max(1, count), rule=rule).counts.tolist() == [0]
        return
    found = draw(rect1, rect2, shape, threshold, total, count, rule=rule)
    pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs == set(map(tuple, positive.nonzero().tolist()))


def test_counts_without_repetition():
    rect = rects(WHOLE, [0.2, 0.1, 0.9, 0.8], [0.9, 0.0, 0.1, 1.0])
    found = draw(rect, rects(WHOLE, WHOLE, WHOLE))
    assert found.counts.tolist() == [20, 20, 20]
    assert found.image.tolist() == [0] * 20 + [1] * 20 + [2] * 20
    for b in range(3):
        own = found.image == b
        pairs = set(zip(found.first[own].tolist(), found.second[own].tolist(), strict=True))
        assert len(pairs) == 20
        assert len(set(found.first[own].tolist())) <= 10


def test_equal_views_pair_each_pixel_with_itself_and_a_flip_with_its_mirror_image():
    rect = rects(WHOLE)
    found = draw(rect, rect, threshold=0.4, num_pairs=10)
    assert torch.equal(found.first, found.second)
    found = draw(rect, rects([1.0, 0.0, 0.0, 1.0]), threshold=0.4, num_pairs=10)
    assert torch.equal(found.first // 10, found.second // 10)
    assert torch.equal(found.first % 10, 9 - found.second % 10)


@pytest.mark.parametrize(
    ("second", "settings"),
    [
        ([0.6, 0.6, 1.0, 1.0], {}),  # the views are disjoint
        ([0.35, 0.35, 0.75, 0.75], {}),  # six pixels are near, ten are wanted
        (WHOLE, {"num_pairs": 10**4}),  # that many pairs there are not
    ],
)
def test_pictures_with_too_little_in_common_are_skipped(second, settings):
    first = rects([0.0, 0.0, 0.4, 0.4], WHOLE)
    found = draw(first, rects(second, WHOLE), **settings)
    assert found.counts[0] == 0
    assert found.image.tolist() == ([] if settings else [1] * 20)


def test_a_whole_batch_without_pairs_gives_empty_tensors():
    found = draw(rects([0.0, 0.0, 0.3, 0.3]), rects([0.7, 0.7, 1.0, 1.0]))
    assert [t.tolist() for t in found] == [[], [], [], [0]]
    empty = draw(torch.zeros(0, 4), torch.zeros(0, 4))
    assert [t.tolist() for t in empty] == [[], [], [], []]
    assert empty.image.dtype == empty.counts.dtype == torch.int64


def test_a_function_of_seed_and_picture_alone():
    rect = rects(WHOLE, [0.2, 0.1, 0.9, 0.8])
    np.random.default_rng(1).random()
    one = draw(rect, rect, index=torch.tensor([5, 9]))
    turned = draw(rect.flip(0), rect.flip(0), index=torch.tensor([9, 5]))
    assert torch.equal(one.first[one.image == 0], turned.first[turned.image == 1])
    assert torch.equal(one.second[one.image == 1], turned.second[turned.image == 0])
    assert not torch.equal(one.first, draw(rect, rect, index=torch.tensor([5, 9]), seed=1).first)


def test_a_view_of_no_width_is_compared_as_a_line():
    found = draw(rects(WHOLE), rects([0.5, 0.0, 0.5, 1.0]), num_pairs=5)
    assert found.counts.tolist() == [5]


def test_all_near_pixels_are_equally_likely():
    rect, hits = rects(WHOLE), torch.zeros(120)
    for seed in range(300):
        hits += torch.bincount(draw(rect, rect, threshold=0.4, num_pairs=10, seed=seed).first, minlength=120)
    assert hits.sum() == 3000
    assert float(hits.min()) > 8  # 25 on average
    assert float(hits.max()) < 50
