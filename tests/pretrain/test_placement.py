"""Scaling, cropping, padding and mirroring: one geometry for picture, label and confidence; no mark gets lost."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.pretrain.placement import draw_placement, nearest, place_label, place_picture, place_values, shrink_label


def placed(shape, size, scale, flip=0.0, seed=0):
    return draw_placement(shape, size, scale, flip, np.random.default_rng(seed))


@pytest.mark.parametrize(("length", "wanted"), [(7, 7), (7, 3), (3, 10), (1, 4), (100, 33)])
def test_nearest_is_that_of_torch(length, wanted):
    expected = F.interpolate(torch.arange(float(length)).view(1, 1, -1), wanted, mode="nearest-exact").flatten()
    assert nearest(length, wanted).tolist() == expected.tolist()


def test_a_crop_without_scaling_by_hand():
    picture = torch.arange(60, dtype=torch.uint8).view(1, 6, 10).expand(3, 6, 10)
    where = placed((6, 10), 4, (1, 1))
    top, left = int(where.rows[0]), int(where.columns[0])
    assert torch.equal(place_picture(picture, where), picture[:, top : top + 4, left : left + 4])
    assert torch.equal(place_label(picture[0], where), picture[0, top : top + 4, left : left + 4])
    mirrored = placed((6, 10), 4, (1, 1), flip=1.0)
    assert torch.equal(place_picture(picture, mirrored), place_picture(picture, where).flip(-1))
    assert torch.equal(place_label(picture[0], mirrored), place_label(picture[0], where).flip(-1))


def test_a_small_picture_is_reflected_and_its_label_ignored_beyond():
    picture = torch.arange(6, dtype=torch.uint8).view(1, 2, 3).expand(3, 2, 3)
    where = placed((2, 3), 6, (1, 1))
    view, label = place_picture(picture, where), place_label(picture[0], where)
    np.testing.assert_array_equal(view[0].numpy(), np.pad(picture[0].numpy(), ((0, 4), (0, 3)), mode="reflect"))
    assert torch.equal(label[:2, :3], picture[0])
    assert (label[2:] == 255).all()
    assert (label[:, 3:] == 255).all()
    assert (place_values(torch.ones(2, 3), where, 0.0).sum()) == 6


def test_a_picture_of_one_pixel_fills_the_view():
    where = placed((1, 1), 4, (1, 1), flip=1.0)
    assert (place_picture(torch.full((3, 1, 1), 7, dtype=torch.uint8), where) == 7).all()
    assert place_label(torch.zeros(1, 1, dtype=torch.int64), where).tolist()[0] == [255, 255, 255, 0]


def ramps(height, width):
    """Row and column of every pixel as a picture (3, H, W); the third channel is nought."""
    rows, columns = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([rows, columns, torch.zeros_like(rows)])


@given(
    st.integers(4, 24),  # torch 2.15 resizes pictures of one column wrongly
    st.integers(4, 24),
    st.integers(1, 20),
    st.floats(0.4, 2.5),
    st.booleans(),
    st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_picture_label_and_values_show_the_same_place(height, width, size, scale, flip, seed):
    picture = ramps(height, width)
    label = torch.from_numpy(np.random.default_rng(seed).integers(9, size=(height, width)))
    where = placed((height, width), size, (scale, scale * 1.1), float(flip), seed)
    codes = picture[0] * width + picture[1]
    found, classes = place_values(codes, where, -1.0), place_label(label, where)
    inside = found >= 0
    assert torch.equal(inside, where.inside)
    assert torch.equal(classes == 255, ~inside)
    assert torch.equal(classes[inside], label.flatten()[found[inside].long()])
    # Nearest pixel and bilinear interpolation differ by half a pixel, and by the filter that the border cuts off.
    rows, columns = found.div(width, rounding_mode="floor"), found % width
    view = place_picture(picture, where)
    reach = 0.5 + 0.5 / min(1.0, where.height / height, where.width / width)
    assert ((view[0] - rows).abs()[inside] <= reach).all()
    assert ((view[1] - columns).abs()[inside] <= reach).all()


def test_scales_and_places_are_spread_over_their_ranges():
    found = [placed((40, 60), 16, (0.5, 1.5), 0.5, seed) for seed in range(200)]
    heights = [one.height for one in found]
    assert min(heights) < 24
    assert max(heights) > 56
    assert all(abs(one.width - 1.5 * one.height) <= 1.5 for one in found)
    fixed = [placed((40, 60), 16, (1, 1), 0.5, seed) for seed in range(400)]
    assert {int(one.rows[0]) for one in fixed} == set(range(25))
    mirrored = [int(one.columns[0]) > int(one.columns[-1]) for one in fixed]
    assert 150 < sum(mirrored) < 250


@given(st.integers(2, 30), st.integers(2, 30), st.floats(0.1, 1.0), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_no_mark_gets_lost(height, width, factor, seed):
    made = np.random.default_rng(seed)
    label = np.full((height, width), 254, np.uint8)
    for number in range(4):
        label[made.integers(height), made.integers(width)] = number
    h, w = max(1, int(height * factor)), max(1, int(width * factor))
    small = shrink_label(torch.from_numpy(label), h, w)
    assert (small.shape, small.dtype) == ((h, w), torch.uint8)
    expected = label[nearest(height, h).numpy()][:, nearest(width, w).numpy()]
    for row, column in np.argwhere(label < 254)[np.argsort(-label[label < 254].astype(int))]:  # the smallest one last
        cell = row * h // height, column * w // width
        inherits = label[nearest(height, h)[cell[0]], nearest(width, w)[cell[1]]] == 254
        expected[cell] = label[row, column] if inherits else expected[cell]
    np.testing.assert_array_equal(small.numpy(), expected)


def test_a_full_label_shrinks_to_the_nearest_pixel():
    label = torch.from_numpy(np.random.default_rng(0).integers(5, size=(12, 9)))
    assert torch.equal(shrink_label(label, 4, 3), label[1::3, 1::3])


def test_marks_survive_a_view_of_a_shrunk_picture():
    label = torch.full((40, 40), 254)
    label[13, 17], label[30, 5] = 1, 2
    for seed in range(20):
        view = place_label(label, placed((40, 40), 40, (0.3, 0.6), 0.5, seed))
        assert {1, 2} <= set(view.unique().tolist())
