import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_dilation

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.partial import SHARES, partial_label
from pixgraph.errors import ConfigError

LABELS = arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 1, 7, 254, 255])
)


@settings(max_examples=60, deadline=None)
@given(LABELS, st.sampled_from(list(SHARES)), st.integers(0, 5))
def test_every_class_keeps_its_share_exactly(label, ratio, seed):
    kept = partial_label(label, ratio, seed, "a")
    np.testing.assert_array_equal(kept == IGNORE, label == IGNORE)
    labelled = kept < UNLABELLED
    np.testing.assert_array_equal(kept[labelled], label[labelled])
    assert (kept[~labelled] >= UNLABELLED).all()
    for c in (0, 1, 7):
        count = int((label == c).sum())
        assert (kept == c).sum() == (max(1, math.ceil(SHARES[ratio] * count - 1e-9)) if count else 0)


def grown_by_loop(inside: np.ndarray, first: np.ndarray, wanted: int) -> np.ndarray:
    """Dilations by 5 x 5 squares inside the class until at least `wanted` pixels are covered."""
    region = first
    while region.sum() < wanted:
        larger = binary_dilation(region, np.ones((5, 5))) & inside
        if (larger == region).all():
            return region
        region = larger
    return region


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ratio", ["p1", "p5", "p25"])
def test_regions_are_dilations_inside_the_class(ratio, seed):
    rng = np.random.default_rng(seed)
    label = (rng.random((30, 36)) < 0.8).astype(np.uint8)  # holes that a 5 x 5 square reaches across
    kept = partial_label(label, ratio, seed, "picture")
    inside, region = label == 1, kept == 1
    wanted = region.sum()
    # Some pixel of the region is where it began: all steps but the last are covered, and nothing beyond the last.
    assert any(
        (region <= grown_by_loop(inside, one_pixel(label.shape, first), wanted)).all()
        and (smaller(inside, first, wanted) <= region).all()
        for first in np.argwhere(region)
    )


def one_pixel(shape, place) -> np.ndarray:
    first = np.zeros(shape, bool)
    first[tuple(place)] = True
    return first


def smaller(inside: np.ndarray, place: np.ndarray, wanted: int) -> np.ndarray:
    """The dilation before the one that covers `wanted` pixels."""
    region = before = one_pixel(inside.shape, place)
    while region.sum() < wanted:
        before, region = region, binary_dilation(region, np.ones((5, 5))) & inside
    return before


def test_growth_goes_on_elsewhere_when_a_part_is_used_up():
    label = np.full((20, 60), 255, np.uint8)
    for column in range(0, 60, 6):  # ten parts of 4 pixels, further apart than a square reaches
        label[5:7, column : column + 2] = 3
    kept = partial_label(label, "p25", 0, "x")
    assert (kept == 3).sum() == 10


def test_pictures_and_seeds_draw_independently_and_repeatably():
    label = np.zeros((40, 50), np.uint8)
    draws = {partial_label(label, "p0", seed, key).tobytes() for seed in range(5) for key in "abcde"}
    assert len(draws) == 25
    np.testing.assert_array_equal(partial_label(label, "p5", 2, "a"), partial_label(label, "p5", 2, "a"))


def test_the_other_classes_of_a_picture_do_not_matter():
    label = np.zeros((30, 30), np.uint8)
    label[:, 15:] = 4
    other = np.where(label == 0, 9, label)
    np.testing.assert_array_equal(partial_label(label, "p5", 1, "a") == 4, partial_label(other, "p5", 1, "a") == 4)


def test_bad_ratios_and_seeds():
    with pytest.raises(ConfigError, match=r"label_ratio: got 'p10', expected one of p0, p1, p5, p25"):
        partial_label(np.zeros((2, 2), np.uint8), "p10")
    with pytest.raises(ConfigError, match=r"seed: got -1"):
        partial_label(np.zeros((2, 2), np.uint8), "p0", -1)
