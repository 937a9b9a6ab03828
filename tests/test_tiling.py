from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph import FewShotSegmenter
from pixgraph.config import GraphConfig
from pixgraph.data.images import MAX_PIXELS, read_image
from pixgraph.errors import ConfigError, NotFittedError
from pixgraph.models.support_cells import count_shots
from pixgraph.tile_supports import WINDOWS, middle_window, support_windows
from pixgraph.tiling import Tiling, blended_strips, cut_tile, tiling_of

TILINGS = st.integers(32, 90).flatmap(lambda tile: st.builds(Tiling, st.just(tile), st.integers(0, tile - 1)))


def scene(seed, height=150, width=210, squares=4):
    """Red squares of 20 pixels on noise: picture and mask of 0 and 1."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(squares):
        row, column = rng.integers(0, height - 20), rng.integers(0, width - 20)
        rgb[row : row + 20, column : column + 20], mask[row : row + 20, column : column + 20] = (230, 40, 40), 1
    return rgb, mask


def answers(seed, channels=3):
    """A tile's answer as a function of its place, different where tiles overlap."""

    def score(rows, columns):
        rng = np.random.default_rng([seed, rows.start, columns.start])
        return rng.random((channels, rows.stop - rows.start, columns.stop - columns.start), np.float32)

    return score


def joined(rows, columns, score, channels=3):
    return np.concatenate([strip.copy() for _, strip in blended_strips(rows, columns, channels, score)], 1)


@given(TILINGS, st.integers(1, 400))
@settings(max_examples=150, deadline=None)
def test_the_weights_of_all_tiles_sum_to_one_at_every_pixel(tiling, length):
    axis = tiling.axis(length)
    total = np.zeros(length)
    for part, weight in zip(axis.slices(), axis.weights, strict=True):
        assert 0 <= part.start < part.stop <= length
        assert part.stop - part.start == len(weight) == axis.extent
        assert (weight > 0).all()
        total[part] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


@given(TILINGS, st.integers(1, 400))
@settings(max_examples=150, deadline=None)
def test_neighbours_share_the_overlap_and_no_tile_is_superfluous(tiling, length):
    axis = tiling.axis(length)
    steps = np.diff(axis.starts)
    assert axis.starts[0] == 0
    assert axis.starts[-1] + axis.extent == length
    assert (steps > 0).all()
    assert (axis.extent - steps >= tiling.overlap).all()
    if len(steps):
        assert (len(axis.starts) - 1) * (tiling.tile - tiling.overlap) + tiling.overlap < length


def test_windows_are_smooth_and_small_at_the_borders_of_a_tile():
    axis = Tiling(64, 32).axis(64 + 32 * 4)
    middle = axis.weights[2]
    np.testing.assert_allclose(middle, np.sin(np.pi * (np.arange(64) + 0.5) / 64) ** 2, atol=1e-6)
    assert middle[0] < 1e-3
    assert np.abs(np.diff(middle)).max() < np.pi / 64
    hard = Tiling(64, 0).axis(128)
    assert all((w == 1).all() for w in hard.weights)


@given(TILINGS, st.integers(1, 160), st.integers(1, 160), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_strips_equal_the_sum_over_the_whole_picture_in_any_order_of_tiles(tiling, height, width, seed):
    rows, columns, score = tiling.axis(height), tiling.axis(width), answers(seed)
    full = np.zeros((3, height, width))
    places = [(i, j) for i in range(len(rows.starts)) for j in range(len(columns.starts))]
    for k in np.random.default_rng(seed).permutation(len(places)):
        i, j = places[k]
        down, across = rows.slices()[i], columns.slices()[j]
        full[:, down, across] += score(down, across) * (rows.weights[i][:, None] * columns.weights[j])
    np.testing.assert_allclose(joined(rows, columns, score), full, atol=1e-5)


def test_strips_come_from_the_top_down_once_each_and_hold_one_row_of_tiles():
    rows, columns = Tiling(40, 10).axis(333), Tiling(40, 10).axis(90)
    tiles, row = [], 0
    for number, (top, strip) in enumerate(blended_strips(rows, columns, 2, answers(0, 2), lambda: tiles.append(1)), 1):
        assert (top, strip.shape[0], strip.shape[2]) == (row, 2, 90)
        assert strip.base.shape == (2, 40, 90)
        assert len(tiles) == number * len(columns.starts)
        row += strip.shape[1]
    assert row == 333
    assert len(tiles) == len(rows.starts) * len(columns.starts)


def test_what_all_tiles_agree_on_stays_as_it_is():
    picture = np.random.default_rng(0).random((2, 97, 131), np.float32)
    rows, columns = Tiling(32, 7).axis(97), Tiling(32, 7).axis(131)
    np.testing.assert_allclose(joined(rows, columns, lambda r, c: picture[:, r, c], 2), picture, atol=1e-6)


@pytest.mark.parametrize(
    ("tile", "overlap", "words"),
    [
        (16, 0, "tile: got 16, expected 32 pixels or more; leave it out for no tiles"),
        (64, 64, "overlap: got 64 with tile 64, expected 0 to 63; an eighth of the tile is usual"),
        (64, -1, "overlap: got -1 with tile 64"),
        (None, 8, "overlap: got 8 without a tile, expected both; set tile, to 64 for example"),
    ],
)
def test_tiles_that_cannot_be_are_explained(tile, overlap, words):
    with pytest.raises(ConfigError, match=words):
        tiling_of(tile, overlap)


def test_an_eighth_of_the_tile_is_shared_where_nothing_is_said():
    assert tiling_of(None, None) is None
    assert tiling_of(1024, None) == Tiling(1024, 128)


def test_a_tile_of_a_small_picture_is_mirrored():
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    cut = cut_tile(picture, slice(0, 3), slice(1, 4), 5)
    np.testing.assert_array_equal(cut[:3, :3], picture[:, 1:])
    np.testing.assert_array_equal(cut[:, 3], cut[:, 2])
    np.testing.assert_array_equal(cut[3], cut[2])
    assert cut_tile(np.zeros((3, 4, 3), np.uint8), slice(0, 3), slice(0, 4), 9).shape == (9, 9, 3)


@given(st.integers(20, 150), st.integers(20, 150), st.integers(32, 70), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_windows_of_supports_show_the_picture_and_its_marks(height, width, tile, seed):
    rng = np.random.default_rng(seed)
    place = np.arange(height * width).reshape(height, width)
    mask = np.full((height, width), 255, np.uint8)
    for value in (0, 3, 7):
        mask[rng.integers(height), rng.integers(width)] = value
    rgb = np.stack([place % 251, place // 251 % 251, place // 251**2], 2).astype(np.uint8)
    windows = support_windows(rgb, mask, tile)
    seen = set()
    for picture, labels in windows:
        assert (picture.shape, labels.shape) == ((tile, tile, 3), (tile, tile))
        where = (picture.astype(int) @ [1, 251, 251**2]).ravel()
        np.testing.assert_array_equal(mask.ravel()[where], labels.ravel())
        seen |= set(np.unique(labels))
    assert seen - {255} == set(np.unique(mask)) - {255}
    assert len(windows) <= 3


def test_an_object_is_in_the_middle_of_its_window_and_many_get_few_windows():
    mask = np.zeros((400, 600), np.uint8)
    mask[100:120, 310:330] = 5
    rgb = np.zeros((400, 600, 3), np.uint8)
    (_, first), (_, second) = support_windows(rgb, mask, 64)
    rows, columns = np.nonzero(first)
    assert (rows.mean().round(), columns.mean().round()) == (32, 32)
    assert (first > 0).sum() == 400
    assert not second.any()  # the background elsewhere
    mask[:] = 5
    assert len(support_windows(rgb, mask, 64)) == WINDOWS
    mask[:] = 255
    assert support_windows(rgb, mask, 64) == []


def test_the_middle_of_unlabelled_pictures():
    rgb = np.arange(100 * 40 * 3, dtype=np.int64).reshape(100, 40, 3)
    np.testing.assert_array_equal(middle_window(rgb, 32), rgb[34:66, 4:36])
    assert middle_window(rgb, 50).shape == (50, 50, 3)


@pytest.mark.parametrize("method", ["prototype", "propagate"])
def test_a_tile_that_covers_the_picture_gives_the_whole_prediction(method):
    options = {"size": 64, "graph": GraphConfig(dilations=[1]), "device": "cpu"}
    support, query = scene(0), scene(1)[0]
    whole = FewShotSegmenter(method, **options).fit(*support).predict_proba(query)[0]
    for tile in (210, 4000):
        tiled = FewShotSegmenter(method, **options, tile=tile, overlap=20).fit(*support)
        np.testing.assert_array_equal(tiled.predict_proba(query)[0], whole)
        np.testing.assert_array_equal(tiled.predict(query)[0], tiled.mask_of(whole))


@pytest.mark.parametrize("size", [(80, 101), (151, 64), (64, 65), (40, 90)])
@pytest.mark.parametrize("supports", ["scaled", "whole"])
def test_tiles_answer_for_every_pixel_of_odd_pictures(size, supports):
    options = {"size": 64, "device": "cpu", "tile": 64, "overlap": 11, "tile_supports": supports}
    segmenter = FewShotSegmenter("prototype", **options).fit(*scene(0))
    query = scene(2, *size)[0]
    probabilities = segmenter.predict_proba(query)[0]
    assert (probabilities.shape, probabilities.dtype) == ((2, *size), np.float32)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(segmenter.predict(query)[0], segmenter.mask_of(probabilities))


def test_small_objects_are_found_by_tiles_and_lost_without():
    support, (query, truth) = scene(0), scene(3, 300, 300)
    options = {"size": 64, "graph": GraphConfig(dilations=[1]), "device": "cpu"}

    def iou(segmenter):
        found = segmenter.fit(*support).predict(query)[0]
        return (found & truth).sum() / (found | truth).sum()

    tiled = iou(FewShotSegmenter("propagate", **options, tile=96))
    whole = iou(FewShotSegmenter("propagate", **options))
    assert tiled > 0.5 > 2 * whole


def test_tiles_are_not_kept_and_a_tile_does_not_depend_on_the_rest(monkeypatch):
    segmenter = FewShotSegmenter("prototype", size=64, device="cpu", tile=80, overlap=16).fit(*scene(0))
    store = segmenter._method.store
    used, query = store._memory.used, scene(4)[0]
    one = segmenter.predict_proba(query)[0]
    assert store._memory.used == used
    query[120:, 180:] = 0  # only tiles of the lower right corner see this
    other = segmenter.predict_proba(query)[0]
    np.testing.assert_array_equal(one[:, :64, :64], other[:, :64, :64])


def test_strips_need_supports_and_the_ways_of_supports_have_names():
    segmenter = FewShotSegmenter("prototype", size=64, device="cpu", tile=64)
    with pytest.raises(NotFittedError, match="has seen no labelled picture yet"):
        next(segmenter.predict_strips(scene(0)[0]))
    with pytest.raises(ConfigError, match="tile_supports: got 'half', expected scaled or whole"):
        FewShotSegmenter("prototype", tile=64, tile_supports="half")
    assert segmenter.description()["tile"] == 64


def test_unlabelled_pictures_are_shown_at_the_scale_of_the_tiles():
    graph = GraphConfig(dilations=[1], unlabelled_knn=1)
    segmenter = FewShotSegmenter("propagate", size=64, graph=graph, device="cpu", tile=64)
    segmenter.fit(*scene(0), unlabelled=[scene(5)[0]])
    assert segmenter._tile_unlabelled[0].size == (64, 64)
    assert segmenter.predict(scene(6, 64, 100)[0])[0].shape == (64, 100)


def test_windows_of_one_photograph_are_one_support():
    support = [scene(seed, 300, 300) for seed in (0, 1)]
    segmenter = FewShotSegmenter("propagate", size=64, device="cpu", tile=64)
    segmenter.fit([rgb for rgb, _ in support], [mask for _, mask in support])
    windows = segmenter._tile_support
    assert len(windows) > 4
    assert [p.photograph for p in windows] == sorted(p.photograph for p in windows)
    assert count_shots(windows, 1) == count_shots(segmenter._support, 1) == 2
    assert count_shots([replace(p, photograph=None) for p in windows], 1) > 2


def test_4096_pixels_a_side_can_be_read(tmp_path):
    from PIL import Image

    assert MAX_PIXELS >= 4096 * 4096
    Image.fromarray(np.zeros((4096, 4096), np.uint8)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").shape == (4096, 4096, 3)
