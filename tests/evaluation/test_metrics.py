"""Integer counts against torchmetrics, a slow reference, hand-computed cases and their own algebra."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.evaluation.metrics import EpisodicIoU, count_pixels, ratios

CLASSES = (2, 4, 7)


def episode(seed, shape=(9, 7), n_way=1):
    """A random query: prediction, truth with ignored pixels, classes of the ways."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([*range(n_way + 1), 255], shape).astype(np.uint8)
    prediction = np.where(rng.random(shape) < 0.6, np.where(truth == 255, 0, truth), rng.integers(0, n_way + 1, shape))
    return prediction.astype(np.uint8), truth, tuple(rng.choice(CLASSES, n_way, replace=False).tolist())


def slow_counts(episodes):
    """Intersections and unions per class, and of background and foreground, pixel by pixel."""
    inter, union = dict.fromkeys(CLASSES, 0), dict.fromkeys(CLASSES, 0)
    binary = [[0, 0], [0, 0]]
    for prediction, truth, classes in episodes:
        for p, t in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
            if t == 255:
                continue
            for way, c in enumerate(classes, 1):
                inter[c] += p == way and t == way
                union[c] += p == way or t == way
            for row in (0, 1):
                binary[row][0] += (p > 0) == row and (t > 0) == row
                binary[row][1] += (p > 0) == row or (t > 0) == row
    return inter, union, binary


def scored(episodes):
    score = EpisodicIoU(CLASSES)
    for prediction, truth, classes in episodes:
        score.update(prediction, truth, classes)
    return score


@pytest.mark.parametrize("n_way", [1, 2, 3])
def test_counts_equal_those_of_a_pixel_by_pixel_reference(n_way):
    episodes = [episode(seed, n_way=n_way) for seed in range(12)]
    score = scored(episodes)
    inter, union, binary = slow_counts(episodes)
    assert score.counts.tolist() == [[inter[c], union[c]] for c in CLASSES]
    assert score.binary.tolist() == binary
    expected = [inter[c] / union[c] for c in CLASSES if union[c]]
    assert score.miou() == pytest.approx(sum(expected) / len(expected), abs=1e-12)
    assert score.fb_iou() == pytest.approx(np.mean([i / u for i, u in binary]), abs=1e-12)


@pytest.mark.parametrize("n_way", [1, 3])
def test_matches_torchmetrics_jaccard_when_every_episode_shows_the_same_classes(n_way):
    import torch
    from torchmetrics.classification import MulticlassJaccardIndex

    classes = CLASSES[:n_way]
    oracle = MulticlassJaccardIndex(num_classes=n_way + 1, average="none", ignore_index=255)
    score = EpisodicIoU(classes)
    for seed in range(6):
        prediction, truth, _ = episode(seed, (16, 11), n_way)
        score.update(prediction, truth, classes)
        oracle.update(torch.from_numpy(prediction).long()[None], torch.from_numpy(truth).long()[None])
    np.testing.assert_allclose(list(score.per_class().values()), oracle.compute()[1:].numpy(), rtol=1e-6)


def test_fb_iou_matches_torchmetrics_on_foreground_against_background():
    import torch
    from torchmetrics.classification import MulticlassJaccardIndex

    oracle = MulticlassJaccardIndex(num_classes=2, average="macro", ignore_index=255)
    score = EpisodicIoU(CLASSES)
    for seed in range(6):
        prediction, truth, classes = episode(seed, (16, 11), 2)
        score.update(prediction, truth, classes)
        binary = np.where(truth == 255, 255, truth > 0)
        oracle.update(torch.from_numpy((prediction > 0).astype(np.int64)), torch.from_numpy(binary.astype(np.int64)))
    assert score.fb_iou() == pytest.approx(float(oracle.compute()), rel=1e-6)


def test_a_case_computed_by_hand():
    score = EpisodicIoU([7])
    counts = score.update([[1, 1, 0, 0]], [[1, 0, 1, 255]], [7])
    assert counts.iou == pytest.approx(1 / 3)
    score.update([[1, 1, 1, 1]], [[1, 1, 1, 1]], [7])
    # accumulated (1 + 4) / (3 + 4), not the mean of 1/3 and 1
    assert score.miou() == pytest.approx(5 / 7)
    # background: intersection 0, union 2 (pixels 1 and 2)
    assert score.fb_iou() == pytest.approx((5 / 7 + 0) / 2)


def test_all_background_has_miou_zero_and_half_the_background_iou():
    score = EpisodicIoU([7])
    score.update(np.zeros((2, 4)), [[1, 0, 0, 0], [255, 0, 0, 0]], [7])
    assert score.miou() == 0
    assert score.fb_iou() == pytest.approx(6 / 7 / 2)


def test_a_class_that_is_never_seen_nor_predicted_is_skipped():
    score = EpisodicIoU([7, 9])
    score.update([[1, 0]], [[1, 0]], [7])
    assert math.isnan(score.per_class()[9])
    assert score.miou() == 1
    assert math.isnan(EpisodicIoU([7]).miou())


def test_false_positives_of_an_absent_way_count_against_its_class():
    score = EpisodicIoU([7, 9])
    score.update([[1, 2, 0]], [[1, 0, 0]], [7, 9])
    assert score.per_class() == {7: 1.0, 9: 0.0}


def test_a_truth_that_is_ignored_everywhere_changes_nothing():
    score = EpisodicIoU([7])
    counts = score.update(np.ones((3, 3)), np.full((3, 3), 255), [7])
    assert not score.counts.any()
    assert not score.binary.any()
    assert math.isnan(counts.iou)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 3)), min_size=1, max_size=8), st.randoms())
def test_order_and_batches_do_not_matter(drawn, random):
    episodes = [episode(seed, (4, 3), n_way) for seed, n_way in drawn]
    whole = scored(episodes).state()
    shuffled = list(episodes)
    random.shuffle(shuffled)
    assert scored(shuffled).state() == whole
    cut = random.randint(0, len(episodes))
    assert scored(episodes[:cut]).merge(scored(episodes[cut:])).state() == whole


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=3))
def test_merge_is_associative_commutative_and_has_a_neutral_element(seeds):
    a, b, c = (scored([episode(seed, (4, 3), 2)]) for seed in seeds)
    assert a.merge(b).merge(c).state() == a.merge(b.merge(c)).state()
    assert a.merge(b).state() == b.merge(a).state()
    assert a.merge(EpisodicIoU(CLASSES)).state() == a.state()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.permutations([0, 1, 2]))
def test_permuting_the_ways_permutes_nothing_but_the_labels(seed, order):
    prediction, truth, classes = episode(seed, (6, 5), 3)
    table = np.zeros(256, np.uint8)
    table[255] = 255
    for new, old in enumerate(order, 1):
        table[old + 1] = new
    permuted = scored([(table[prediction], table[truth], [classes[old] for old in order])])
    assert permuted.state() == scored([(prediction, truth, classes)]).state()


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_bounds_and_perfection(seed):
    prediction, truth, classes = episode(seed, (6, 5), 2)
    values = [v for v in scored([(prediction, truth, classes)]).per_class().values() if not math.isnan(v)]
    assert all(0 <= v <= 1 for v in values)
    perfect = scored([(np.where(truth == 255, 0, truth), truth, classes)])
    assert perfect.miou() == 1 or math.isnan(perfect.miou())


def test_state_survives_json():
    score = scored([episode(seed) for seed in range(4)])
    again = EpisodicIoU.from_state(json.loads(json.dumps(score.state())))
    assert again.state() == score.state()
    assert "queries=4" in repr(again)


def test_ratio_of_an_empty_union_is_nan_without_a_warning(recwarn):
    assert math.isnan(ratios(np.array([0]), np.array([0]))[0])
    assert not recwarn.list


def test_bad_input_is_named():
    score = EpisodicIoU([7])
    with pytest.raises(ValueError, match=r"prediction has shape \(1, 2\) but truth \(2, 1\)"):
        score.update([[1, 0]], [[1], [0]], [7])
    with pytest.raises(ValueError, match=r"classes \[9\] of the episode are not among the scored classes \(7,\)"):
        score.update([[1]], [[1]], [9])
    with pytest.raises(ValueError, match=r"prediction has label 3, expected 0\.\.1"):
        count_pixels(np.array([[3]]), np.array([[1]]), 1)
    with pytest.raises(ValueError, match=r"truth has labels \[0, 7\], expected 0\.\.1 and 255"):
        count_pixels(np.array([[0, 0]]), np.array([[0, 7]]), 1)
    with pytest.raises(ValueError, match="cannot merge scores over classes"):
        score.merge(EpisodicIoU([9]))
    with pytest.raises(ValueError, match="repeat: give each class id once"):
        EpisodicIoU([7, 7])
