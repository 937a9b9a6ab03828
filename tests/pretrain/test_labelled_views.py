"""Views with labels: label = picture = confidence after the whole chain, and what each setting does."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.backbones.base import IMAGENET_MEAN
from pixgraph.pretrain.labelled_views import LabelledViewConfig, augmented_view, strong_views, weak_view
from pixgraph.pretrain.mixing import LabelledMaps

PLAIN = LabelledViewConfig(size=12, scale=[1.0, 1.0], flip=0.0, jitter=0.0, blur=0.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def coded(b=3, side=12, seed=0):
    """Colours tell picture, row and column; labels and confidences are looked up by them."""
    places = np.moveaxis(np.indices((b, side, side)), 0, 1) / [[[[b]], [[side]], [[side]]]]
    made = rng(seed)
    labels = torch.from_numpy(made.integers(5, size=(b, side, side)))
    confidences = torch.from_numpy(made.random((b, side, side)).astype(np.float32))
    return LabelledMaps(torch.from_numpy(places.astype(np.float32)), labels, confidences)


@given(
    st.sampled_from(["none", "cutout", "cutmix", "classmix"]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(1, 4),
    st.integers(0, 10**6),
)
@settings(max_examples=30, deadline=None)
def test_provenance_without_scaling(strategy, flip, b, seed):
    maps = coded(b, seed=seed)
    config = LabelledViewConfig(size=12, scale=[1.0, 1.0], flip=flip, jitter=0.0, blur=0.0)
    found = strong_views(maps, config, strategy, rng(seed))
    grey = (found.images - torch.tensor(IMAGENET_MEAN)[:, None, None]).abs().amax(1) < 1e-6
    sizes = torch.tensor([b, 12, 12])[:, None, None]
    picture, row, column = (found.images * sizes).round().long().movedim(1, 0).masked_fill(grey, 0)
    assert torch.equal(found.labels, maps.labels[picture, row, column].masked_fill(grey, 255))
    assert torch.equal(found.confidences, maps.confidences[picture, row, column].masked_fill(grey, 0))


@given(st.sampled_from(["none", "cutout", "cutmix", "classmix"]), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_provenance_with_scaling(strategy, seed):
    """A confidence names its pixel exactly, so its label can be looked up; the colour agrees to a pixel or so."""
    b, side = 3, 16
    maps = coded(b, side, seed)
    codes = torch.arange(1, b * side * side + 1).view(b, side, side).float()
    maps = maps._replace(confidences=codes)
    config = LabelledViewConfig(size=side, scale=[0.6, 1.8], flip=0.5, jitter=0.0, blur=0.0)
    found = strong_views(maps, config, strategy, rng(seed))
    seen = found.confidences > 0
    assert torch.equal(found.labels == 255, ~seen)
    number = found.confidences[seen].long() - 1
    assert torch.equal(found.labels[seen], maps.labels.flatten()[number])
    colours = found.images.movedim(1, -1)[seen] * torch.tensor([b, side, side])  # (n, 3)
    places = torch.stack([number // side**2, number // side % side, number % side], 1)
    assert ((colours - places).abs() <= torch.tensor([0.01, 1.4, 1.4])).all()


def test_colours_change_the_picture_alone():
    maps = coded()
    changed = LabelledViewConfig(size=12, scale=[0.5, 1.5], flip=0.5, jitter=1.0, blur=1.0)
    plain = LabelledViewConfig(size=12, scale=[0.5, 1.5], flip=0.5, jitter=0.0, blur=0.0)
    one, two = (strong_views(maps, config, "classmix", rng()) for config in (changed, plain))
    assert torch.equal(one.labels, two.labels)
    assert torch.equal(one.confidences, two.confidences)
    assert not torch.allclose(one.images, two.images)
    assert one.images.min() >= 0
    assert one.images.max() <= 1


def picture(h=20, w=30):
    made = rng(5)
    label = torch.from_numpy(made.integers(4, size=(h, w)).astype(np.uint8))
    return torch.from_numpy(made.integers(256, size=(3, h, w)).astype(np.uint8)), label


def test_the_weak_view_is_a_crop():
    pixels, label = picture()
    image, classes = weak_view(pixels, label, LabelledViewConfig(size=12, scale=[1.0, 1.0]), rng())
    assert (image.shape, image.dtype, classes.dtype) == ((3, 12, 12), torch.float32, torch.int64)
    windows = pixels.unfold(1, 12, 1).unfold(2, 12, 1).float() / 255  # (3, 9, 19, 12, 12)
    same = (windows == image[:, None, None]).flatten(3).all(3).all(0)
    assert same.sum() == 1
    top, left = same.nonzero()[0].tolist()
    assert torch.equal(classes, label[top : top + 12, left : left + 12].long())


@pytest.mark.parametrize("setting", ["flip", "jitter", "blur", "scale"])
def test_every_setting_changes_the_augmented_view(setting):
    pixels, label = picture()
    value = [0.5, 0.5] if setting == "scale" else 1.0
    changed = LabelledViewConfig(**{**PLAIN.__dict__, setting: value})
    (plain, classes), (image, other) = (augmented_view(pixels, label, config, rng()) for config in (PLAIN, changed))
    assert not torch.equal(plain, image)
    assert torch.equal(classes, other) == (setting in ("jitter", "blur"))
    if setting == "flip":
        assert torch.equal(image, plain.flip(-1))
        assert torch.equal(other, classes.flip(-1))


def test_labels_beyond_a_small_picture_are_ignored_and_254_stays():
    pixels, label = picture(8, 8)
    label[2:4] = 254
    _, classes = weak_view(pixels, label, PLAIN, rng())
    assert (classes[8:] == 255).all()
    assert (classes[:, 8:] == 255).all()
    assert torch.equal(classes[:8, :8], label.long())


def test_the_same_seed_gives_the_same():
    pixels, label = picture()
    config = LabelledViewConfig(size=12)
    one, two, other = (augmented_view(pixels, label, config, rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[0], other[0])
