"""CutOut, CutMix, ClassMix: wherever a pixel comes from, its label and its confidence come from there too."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.backbones.base import IMAGENET_MEAN
from pixgraph.pretrain.mixing import LabelledMaps, cut_box, mix

STRATEGIES = ["cutout", "cutmix", "classmix"]


def coded(b=3, h=6, w=8, classes=4, seed=0):
    """Every pixel is of a colour of its own, which tells its picture, row and column; labels and confidences do not
    follow from it, but are looked up by it."""
    made = np.random.default_rng(seed)
    places = torch.from_numpy(np.moveaxis(np.indices((b, h, w)), 0, 1).copy()).float()  # (B, 3, H, W)
    labels = torch.from_numpy(made.choice([*range(classes), 254, 255], size=(b, h, w)))
    return LabelledMaps(places, labels, torch.from_numpy(made.random((b, h, w)).astype(np.float32)))


def check_provenance(mixed, maps):
    """Label and confidence of a pixel are those of the pixel that its colour names; returns the pictures (B, H, W)."""
    grey = (mixed.images == torch.tensor(IMAGENET_MEAN)[:, None, None]).all(1)
    assert (mixed.labels[grey] == 255).all()
    assert (mixed.confidences[grey] == 0).all()
    picture, row, column = mixed.images.movedim(1, 0).masked_fill(grey, 0).long()
    assert torch.equal(mixed.labels[~grey], maps.labels[picture, row, column][~grey])
    assert torch.equal(mixed.confidences[~grey], maps.confidences[picture, row, column][~grey])
    return picture.masked_fill(grey, -1)


@given(
    st.lists(st.sampled_from(STRATEGIES), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 10**6),
)
@settings(max_examples=50, deadline=None)
def test_provenance_after_any_chain(chain, b, h, w, seed):
    maps = mixed = coded(b, h, w, seed=seed)
    rng = np.random.default_rng(seed)
    for strategy in chain:
        mixed = mix(mixed, strategy, rng)
    check_provenance(mixed, maps)
    for before, after in zip(maps, mixed, strict=True):
        assert (before.shape, before.dtype) == (after.shape, after.dtype)


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_pastes_a_box_of_the_next_picture_at_the_same_place(seed):
    maps = coded(h=20, w=30)
    mixed = mix(maps, "cutmix", np.random.default_rng(seed))
    picture = check_provenance(mixed, maps)
    assert torch.equal(mixed.images[:, 1:], maps.images[:, 1:])  # rows and columns stay where they are
    for number, one in enumerate(picture):
        pasted = one == (number + 1) % 3
        assert (pasted | (one == number)).all()
        rows, columns = pasted.any(1).sum(), pasted.any(0).sum()
        assert pasted.sum() == rows * columns
        assert abs(int(rows * columns) - 300) <= columns / 2  # half of the area, to half a row


@pytest.mark.parametrize("seed", range(5))
def test_cutout_blanks_a_box(seed):
    maps = coded(h=20, w=30)
    picture = check_provenance(mix(maps, "cutout", np.random.default_rng(seed)), maps)
    blank = picture == -1
    assert (blank | (picture == torch.arange(3)[:, None, None])).all()
    assert ((blank.sum((1, 2)) - 300).abs() <= 15).all()


@pytest.mark.parametrize("seed", range(5))
def test_classmix_keeps_half_of_the_classes(seed):
    maps = coded(classes=5)
    picture = check_provenance(mix(maps, "classmix", np.random.default_rng(seed)), maps)
    for number, one in enumerate(picture):
        kept = one == number
        assert torch.equal(~kept, one == (number + 1) % 3)
        classes = set(maps.labels[number][kept].tolist())
        assert len(classes) == 2
        assert max(classes) < 254
        assert torch.equal(kept, torch.isin(maps.labels[number], torch.tensor(sorted(classes))))


def test_classmix_of_one_class_or_of_none_shows_the_donor():
    maps = coded(2)
    labels = torch.stack([torch.full((6, 8), 3), torch.full((6, 8), 254)])
    mixed = mix(maps._replace(labels=labels), "classmix", np.random.default_rng(0))
    for ours, given_ in zip(mixed, maps._replace(labels=labels), strict=True):
        assert torch.equal(ours, given_.flip(0))


def test_the_same_generator_gives_the_same_and_another_one_something_else():
    maps = coded(h=20, w=30)
    for strategy in STRATEGIES:
        one, two, other = (mix(maps, strategy, np.random.default_rng(seed)) for seed in (0, 0, 1))
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
        assert not torch.equal(one.images, other.images)


def test_nothing_is_changed_in_place_and_none_changes_nothing():
    maps, same = coded(), coded()
    for strategy in ("none", *STRATEGIES):
        mix(maps, strategy, np.random.default_rng(0))
        assert all(torch.equal(a, b) for a, b in zip(maps, same, strict=True))
    assert mix(maps, "none", np.random.default_rng(0)) is maps


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_a_box_lies_inside_and_covers_half(height, width, seed):
    top, left, rows, columns = cut_box(height, width, np.random.default_rng(seed))
    assert 0 <= top <= top + rows <= height
    assert 0 <= left <= left + columns <= width
    assert columns >= width / 2
    assert rows >= 1
    assert abs(rows * columns - height * width / 2) <= max(columns / 2, columns * (rows == 1))
