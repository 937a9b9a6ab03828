"""Segments of a picture: means over them, pictures painted with their values, majorities, neighbours."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_task import picture, smooth

from pixgraph.data.picture import Picture
from pixgraph.graph.segment_map import PAINT, SegmentMap, segment_map
from pixgraph.graph.segments import majority, segment_means, support_segments, touching
from pixgraph.models.levels import resample


def random_map(height, width, count, seed=0, none=False):
    """Segments of scattered pixels, each of which occurs; with `none` some pixels are in no segment."""
    rng = np.random.default_rng(seed)
    where = rng.integers(0, count + none, (height, width))
    where.flat[rng.permutation(height * width)[:count]] = np.arange(count)
    return SegmentMap(torch.from_numpy(where), count)


maps_of_labels = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 10**6))


@pytest.mark.parametrize("size", [(32, 32), (128, 96), (30, 50)])
@pytest.mark.parametrize("grid", [(4, 4), (8, 12), (40, 40)])
@pytest.mark.parametrize("none", [False, True])
def test_pool_is_the_mean_over_the_pixels_of_the_segment(size, grid, none):
    cut = random_map(*size, 7, none=none)
    maps = torch.randn(3, *grid, dtype=torch.float64)
    cells = resample(maps, *cut.grid)
    rows, columns = cut.grid
    at = cells[:, torch.arange(size[0]) * rows // size[0]][:, :, torch.arange(size[1]) * columns // size[1]]
    expected = torch.stack([at[:, cut.where == i].mean(1) for i in range(7)])
    tolerance = {"atol": 1e-6, "rtol": 1e-5}  # the shares are single precision
    torch.testing.assert_close(cut.pool(maps), expected, **tolerance)


def test_pool_lets_gradients_through():
    cut = random_map(72, 72, 5)
    maps = torch.randn(2, 20, 20, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(cut.pool, maps)
    values = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(cut.paint, values)


@pytest.mark.parametrize("none", [False, True])
def test_paint_is_the_mean_of_the_pixels_of_the_cell(none):
    cut = random_map(32, 24, 6, none=none)
    values = torch.randn(6, 2)
    painted, pixels = cut.paint(values), cut.pixels(values)
    assert painted.shape == (2, 32 // PAINT, 24 // PAINT)
    for y in range(0, 32, 5):
        for x in range(0, 24, 5):
            i = int(cut.where[y, x])
            assert torch.equal(pixels[:, y, x], values[i] if i < 6 else torch.zeros(2))
    inside = (cut.where < 6).float()[None, None]
    total = torch.nn.functional.avg_pool2d(pixels[None] * inside, PAINT)[0]
    share = torch.nn.functional.avg_pool2d(inside, PAINT)[0]
    torch.testing.assert_close(painted, total / share.clamp_min(1e-9))


def test_means_of_colours_and_places():
    cut = random_map(20, 30, 4, none=True)
    rgb = torch.rand(3, 20, 30)
    y, x = torch.meshgrid(torch.arange(20) / 19, torch.arange(30) / 29, indexing="ij")
    planes = torch.cat([rgb, x[None], y[None]])
    expected = torch.stack([planes[:, cut.where == i].mean(1) for i in range(4)])
    torch.testing.assert_close(segment_means(rgb, cut), expected)


@given(maps_of_labels)
@settings(max_examples=60, deadline=None)
def test_majority_counts_and_breaks_ties_by_the_first_pixel(drawn):
    height, width, count, seed = drawn
    rng = np.random.default_rng(seed)
    where, label = rng.integers(0, count + 1, (height, width)), rng.choice([0, 1, 2, 254, 255], (height, width))
    expected = []
    for i in range(count):
        known = [c for c in label[where == i].tolist() if c < 254]
        expected.append(max(known, key=lambda c: (known.count(c), -known.index(c))) if known else 255)
    assert majority(label, where, count).tolist() == expected


@given(maps_of_labels)
@settings(max_examples=60, deadline=None)
def test_supports_keep_every_label_and_no_unknown_segment(drawn):
    height, width, count, seed = drawn
    rng = np.random.default_rng(seed)
    label = rng.choice([0, 1, 2, 3, 254, 255], (height, width), p=[0.4, 0.1, 0.02, 0.02, 0.23, 0.23])
    cut = random_map(height, width, min(count, height * width), seed)
    kept, labels = support_segments(label, cut)
    assert len(kept) == len(labels)
    assert set(labels.tolist()) == set(np.unique(label[label < 254]).tolist())
    assert sorted(set(kept.where.flatten().tolist()) | {len(kept)}) == list(range(len(kept) + 1))
    for i, c in enumerate(labels.tolist()):
        own = label[kept.where.numpy() == i]
        known = own[own < 254]
        assert len(known)
        assert np.count_nonzero(known == c) == max(np.bincount(known))


@given(maps_of_labels)
@settings(max_examples=40, deadline=None)
def test_the_numbers_of_the_classes_do_not_matter(drawn):
    height, width, count, seed = drawn
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, (height, width))
    cut = random_map(height, width, min(count, height * width), seed)
    rename = np.array([2, 3, 0, 1])
    (a, labels), (b, renamed) = support_segments(label, cut), support_segments(rename[label], cut)
    assert torch.equal(a.where, b.where)
    assert rename[labels].tolist() == renamed.tolist()


@given(maps_of_labels)
@settings(max_examples=40, deadline=None)
def test_touching_segments_have_neighbouring_pixels(drawn):
    height, width, count, seed = drawn
    cut = random_map(height, width, min(count, height * width), seed, none=True)
    where, expected = cut.where.tolist(), set()
    for y in range(height):
        for x in range(width):
            for v, u in ((y + 1, x), (y, x + 1)):
                if (
                    v < height
                    and u < width
                    and where[y][x] != where[v][u]
                    and len(cut) not in (where[y][x], where[v][u])
                ):
                    expected |= {(where[y][x], where[v][u]), (where[v][u], where[y][x])}
    src, dst = touching(cut)
    assert list(zip(dst.tolist(), src.tolist(), strict=True)) == sorted((b, a) for a, b in expected)


def test_a_picture_is_cut_by_its_colours_alone():
    some = smooth(picture(1, size=64))
    cut = segment_map(some, 30)
    assert 15 <= len(cut) <= 45
    assert set(cut.where.unique().tolist()) == set(range(len(cut)))
    other = replace(some, key="another", features=[torch.rand(2, 4, 4)], label=None)
    assert torch.equal(segment_map(other, 30).where, cut.where)
    assert len(segment_map(some, 12)) < len(cut)
    assert not torch.equal(segment_map(smooth(picture(2, size=64)), 30).where, cut.where)


def test_a_picture_of_noise_or_of_one_colour_may_be_few_segments():
    for rgb in (picture(1).rgb, torch.full((3, 32, 32), 0.5), torch.rand(3, 1, 5), torch.rand(3, 1, 1)):
        some = replace(picture(1), rgb=rgb)
        cut = segment_map(some, 9)
        assert cut.where.shape == rgb.shape[1:]
        assert cut.where.unique().tolist() == list(range(len(cut)))
        assert segment_means(rgb, cut).isfinite().all()
        assert cut.pool(torch.randn(2, 8, 8)).isfinite().all()


@pytest.mark.parametrize("cells", [8, 20])
def test_what_is_remembered_in_inference_mode_serves_training(cells):
    """With maps of few cells, which are averaged by a matrix, and of many."""
    rng = torch.Generator().manual_seed(cells)
    cut = Picture("p", torch.rand(3, 80, 80, generator=rng), [], (80, 80))
    with torch.inference_mode():
        known = segment_map(cut, 12)
        known.paint(known.pool(torch.rand(2, cells, cells, generator=rng)))
    maps = torch.rand(2, cells, cells, generator=rng, requires_grad=True)
    again = segment_map(cut, 12)
    assert again is known
    means = again.pool(maps)
    (again.paint(means).sum() + again.pixels(means).sum()).backward()
    assert float(maps.grad.sum()) > 0
