import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pixgraph.probe.weighting import class_weights

COUNTS = arrays(np.int64, (5, 4), elements=st.integers(0, 50))


@given(COUNTS, st.sampled_from(["none", "inverse", "median"]))
def test_a_pixel_weighs_one_on_average_and_absent_classes_nothing(counts, weighting):
    weights = class_weights(counts, weighting)
    pixels = counts.sum(0)
    assert (weights[pixels == 0] == 0).all()
    assert weights @ pixels == pytest.approx(pixels.sum())


@given(COUNTS)
def test_inverse_makes_all_classes_alike(counts):
    mass = class_weights(counts, "inverse") * counts.sum(0)
    shown = mass[counts.sum(0) > 0]
    assert np.allclose(shown, shown[:1])


def test_median_frequency_by_hand():
    counts = np.array([[6, 2, 0], [8, 0, 0], [4, 0, 4]])
    # Frequencies where the class is shown: 18 / 24, 2 / 8, 4 / 8; the median is 1 / 2.
    raw = np.array([0.5 / 0.75, 2.0, 1.0])
    expected = raw * 24 / (raw @ counts.sum(0))
    assert class_weights(counts, "median") == pytest.approx(expected)
    assert class_weights(counts, "none").tolist() == [1, 1, 1]
