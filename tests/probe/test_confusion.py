import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.probe.confusion import Confusion

IDS = [0, 2, 7, 250]


@given(st.integers(0, 10**6), st.integers(1, 4))
@settings(deadline=None)
def test_equals_brute_force_and_does_not_depend_on_the_division_into_pictures(seed, pictures):
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(0, 4, (2, 60))
    unknown = rng.random(60) < 0.2
    whole, parts = Confusion(IDS), Confusion(IDS)
    labels = np.where(unknown, 255, np.array(IDS)[truth]).astype(np.uint8)
    answers = np.array(IDS, np.uint8)[found]
    whole.add(answers, labels)
    for a, b in zip(np.array_split(answers, pictures), np.array_split(labels, pictures), strict=True):
        parts.add(a, b)
    expected = [[int(((truth == t) & (found == p) & ~unknown).sum()) for p in range(4)] for t in range(4)]
    assert whole.counts.tolist() == parts.counts.tolist() == expected
    assert whole.counts.dtype == np.int64


def test_scores_of_a_matrix_done_by_hand():
    confusion = Confusion([1, 2, 3, 4])
    confusion.counts = np.array([[6, 2, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 2, 0, 0]])
    iou = confusion.iou()
    assert iou[:2].tolist() == [6 / 9, 1 / 6]
    assert math.isnan(iou[2])  # nowhere: no score
    assert iou[3] == 0  # there, and never found
    assert confusion.miou() == pytest.approx((6 / 9 + 1 / 6 + 0) / 3)
    assert confusion.accuracy() == 7 / 12
    found = confusion.to_dict(["a", "b", "c", "d"])
    assert found["iou"][2] is None
    assert found["class_accuracy"] == pytest.approx((6 / 8 + 1 / 2 + 0) / 3)


def test_nothing_gives_no_score():
    confusion = Confusion([1, 2])
    confusion.add(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8))
    assert math.isnan(confusion.miou())
    assert confusion.to_dict(["a", "b"])["miou"] is None


def test_foreign_labels_and_shapes_are_refused():
    with pytest.raises(ValueError, match=r"labels \[9\] are not among the classes \[1, 2\]"):
        Confusion([1, 2]).add(np.array([[1]], np.uint8), np.array([[9]], np.uint8))
    with pytest.raises(ValueError, match=r"prediction has shape \(1, 1\) but truth \(1, 2\)"):
        Confusion([1, 2]).add(np.array([[1]], np.uint8), np.array([[1, 1]], np.uint8))
