"""Small pictures and charts: colours, sizes, ticks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixgraph.overlay import overlay
from pixgraph.report.charts import Series, line_chart, thin, ticks
from pixgraph.report.tiles import (
    FALSE_ALARM,
    HIT,
    MISS,
    WAYS,
    WRONG_WAY,
    episode_tiles,
    error_map,
    panel_figure,
    shrink,
    tint,
)

BLACK = np.zeros((1, 5, 3), np.uint8)


def test_error_map_tells_the_four_cases_and_leaves_unknown_pixels_alone():
    picture = error_map(BLACK, np.array([[1, 1, 0, 2, 1]]), np.array([[1, 0, 1, 1, 255]]))
    for pixel, colour in zip(picture[0, :4], (HIT, FALSE_ALARM, MISS, WRONG_WAY), strict=True):
        np.testing.assert_allclose(pixel, 0.75 * np.array(colour), atol=1)
    assert not picture[0, 4].any()


def test_tint_outlines_ways_dims_background_and_whitens_the_unknown():
    grey = np.full((5, 9, 3), 100, np.uint8)
    mask = np.zeros((5, 9), np.uint8)
    mask[:, 3:6], mask[:, 8] = 1, 255
    picture = tint(grey, mask)
    assert tuple(picture[2, 3]) == WAYS[0]
    np.testing.assert_allclose(picture[2, 4], 0.55 * 100 + 0.45 * np.array(WAYS[0]), atol=1)
    assert picture[2, 0].tolist() == [85, 85, 85]
    assert picture[2, 8].tolist() == [170, 170, 170]


@pytest.mark.parametrize("shape", [(300, 200), (10, 1000), (1, 1)])
def test_shrink_keeps_the_aspect_and_invents_no_label(shape):
    mask = np.random.default_rng(0).choice([0, 3, 255], shape).astype(np.uint8)
    small, labels = shrink(np.zeros((*shape, 3), np.uint8), mask, 50)
    assert max(small.shape[:2]) == 50
    assert small.shape[:2] == labels.shape
    assert set(np.unique(labels)) <= {0, 3, 255}


def test_tiles_without_truth_have_no_error_map_and_make_one_figure():
    rgb, mask = np.full((40, 60, 3), 90, np.uint8), np.ones((40, 60), np.uint8)
    tiles = episode_tiles([(rgb, mask)] * 2, rgb, None, {"gnn": mask}, side=30)
    assert [tile.caption for tile in tiles] == ["support", "support", "query", "gnn"]
    assert panel_figure(tiles).size == (4 * 30 + 3 * 6, 20 + 16)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_cover_the_range_with_few_even_steps(low, span):
    found = ticks(low, low + span)
    assert found[0] <= low + 1e-6 * (span + abs(low))
    assert found[-1] >= low + span - 1e-6 * (span + abs(low))
    assert 2 <= len(found) <= 7


def test_ticks_of_a_single_value():
    assert len(ticks(0.0, 0.0)) >= 2


def test_thin_keeps_the_mean_and_drops_what_is_not_finite():
    points = [(float(i), float(i % 7)) for i in range(1000)] + [(1000.0, math.nan)]
    short = thin(points, 100)
    assert len(short) == 100
    assert sum(y for _, y in short) / 100 == pytest.approx(sum(i % 7 for i in range(1000)) / 1000)


def test_a_chart_stays_inside_its_frame_and_an_empty_one_is_no_chart():
    text = line_chart("a & b", [Series("x", [(0, 1.0), (5, 3.0)]), Series("one", [(2, 2.0)], "s2")], percent=True)
    assert "a &amp; b" in text
    assert "300%" in text
    assert text.count("<circle") == 1
    assert line_chart("none", [Series("x", [(0, math.nan)])]) == ""


def test_unmarked_pixels_stay_as_they_are_and_marks_are_seen():
    rgb = np.full((12, 12, 3), 120, np.uint8)
    mask = np.full((12, 12), 254, np.uint8)
    mask[2, 2], mask[8:11, 8:11] = 0, 1
    found = tint(rgb, mask)
    assert (found[mask == 254] == 120).all()
    assert (found[2, 2] < 60).all()
    assert (found[9, 9] != 120).any()
    np.testing.assert_array_equal(overlay(rgb, mask)[mask == 254], rgb[mask == 254])
