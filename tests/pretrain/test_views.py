import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional

from pixgraph.errors import ConfigError
from pixgraph.pretrain.config import ViewConfig
from pixgraph.pretrain.pairs import cell_centres
from pixgraph.pretrain.photometry import Photometry, change_colours, shift_hue
from pixgraph.pretrain.views import TwoViews, ViewBatch, ViewDataset, collate, crop_box, view_rect


def plain(**changes):
    """Crops without any change of colour."""
    none = {"jitter": 0.0, "grayscale": 0.0, "blur": [0.0, 0.0], "solarize": [0.0, 0.0]}
    return ViewConfig(**{"size": 32, **none, **changes})


def noise(height=40, width=50, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8))


def ramps(height=200, width=256):
    """Red tells x, green y, each from 0 to 1 over the picture."""
    x, y = torch.linspace(0, 255, width), torch.linspace(0, 255, height)
    rgb = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width), torch.zeros(height, width)])
    return rgb.round().to(torch.uint8)


def same_views(one, other):
    return all(torch.equal(a, b) for v, w in zip(one, other, strict=True) for a, b in zip(v, w, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_every_cell_shows_what_its_centre_says(seed):
    # Crop, resizing, flip and rectangle are checked against each other through the colours.
    for view in TwoViews(plain(size=64, flip=0.5))(ramps(), seed):
        means = torch.nn.functional.avg_pool2d(view.pixels, 16)[:2].flatten(1).T  # (16, 2): x and y of 4 x 4 cells
        centres = cell_centres(view.rect[None], (4, 4))[0]
        torch.testing.assert_close(means, centres, atol=0.012, rtol=0)


def test_both_directions_occur():
    found = [view.rect for seed in range(8) for view in TwoViews(plain())(noise(), seed)]
    assert {bool(rect[0] > rect[2]) for rect in found} == {False, True}
    assert all(rect[1] <= rect[3] for rect in found)


def test_the_whole_picture_untouched():
    picture = noise(32, 32)
    view, _ = TwoViews(plain(area=[1.0, 1.0], aspect=[1.0, 1.0], flip=0.0))(picture, 0)
    assert torch.equal(view.pixels, picture.float() / 255)
    assert view.rect.tolist() == [0, 0, 1, 1]
    flipped, _ = TwoViews(plain(area=[1.0, 1.0], aspect=[1.0, 1.0], flip=1.0))(picture, 0)
    assert torch.equal(flipped.pixels, picture.float().flip(-1) / 255)
    assert flipped.rect.tolist() == [1, 0, 0, 1]


def test_rectangles_by_hand():
    rect = view_rect((11, 21), (2, 5, 4, 8), False)  # rows 2..5 of 0..10, columns 5..12 of 0..20
    torch.testing.assert_close(rect, torch.tensor([0.25, 0.2, 0.6, 0.5]))
    torch.testing.assert_close(view_rect((11, 21), (2, 5, 4, 8), True), torch.tensor([0.6, 0.2, 0.25, 0.5]))
    assert view_rect((1, 1), (0, 0, 1, 1), False).isfinite().all()


def test_views_depend_on_picture_and_seed_alone():
    picture, before = noise(), noise()
    make = TwoViews(ViewConfig(size=24))
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    first = make(picture, 7)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert states[2] == random.getstate()
    torch.rand(3)
    assert same_views(first, make(picture, 7))
    assert not same_views(first, make(picture, 8))
    assert torch.equal(picture, before)
    assert not torch.equal(first[0].rect, first[1].rect)


def test_a_picture_smaller_than_the_view_is_enlarged():
    view, _ = TwoViews(ViewConfig(size=48))(noise(9, 13), 0)
    assert view.pixels.shape == (3, 48, 48)
    assert view.pixels.isfinite().all()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_crops_stay_inside(height, width, seed):
    top, left, h, w = crop_box(height, width, (0.08, 1.0), (0.75, 1.3333), np.random.default_rng(seed))
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert h >= 1
    assert w >= 1


def test_crops_cover_the_shares_and_aspects_asked_for():
    rng = np.random.default_rng(0)
    boxes = np.array([crop_box(1000, 1000, (0.2, 0.5), (0.5, 2.0), rng) for _ in range(400)])
    share, aspect = boxes[:, 2] * boxes[:, 3] / 1e6, np.log(boxes[:, 3] / boxes[:, 2])
    assert 0.199 < share.min() < 0.21
    assert 0.49 < share.max() < 0.501
    assert abs(share.mean() - 0.35) < 0.02
    assert abs(aspect.mean()) < 0.06
    assert np.abs(aspect).max() < np.log(2.02)


def test_a_narrow_picture_gives_its_largest_legal_crop():
    box = crop_box(10, 1000, (0.9, 1.0), (0.5, 2.0), np.random.default_rng(0))
    assert box == (0, 490, 10, 20)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, lambda x: x),
        ({"grayscale": 1.0}, lambda x: functional.rgb_to_grayscale(x, 3)),
        ({"solarize": 1.0}, lambda x: torch.where(x >= 0.5, 1 - x, x)),
        ({"blur": 1.0, "sigma": (1.5, 1.5)}, lambda x: functional.gaussian_blur(x, [11, 11], [1.5, 1.5])),
        ({"blur": 1.0, "sigma": (1.5, 1.5), "radius": 1}, lambda x: functional.gaussian_blur(x, [3, 3], [1.5, 1.5])),
    ],
    ids=["nothing", "grey", "solarise", "blur", "narrow blur"],
)
def test_one_change_of_colour_is_torchvisions(changes, expected):
    settings_ = Photometry(**{"jitter": 0.0, "grayscale": 0.0, "blur": 0.0, "solarize": 0.0, **changes})
    pixels = torch.from_numpy(np.random.default_rng(1).random((3, 24, 20), np.float32))
    found = change_colours(pixels, settings_, np.random.default_rng(0))
    torch.testing.assert_close(found, expected(pixels), atol=1e-5, rtol=0)


@pytest.mark.parametrize("turn", [-0.5, -0.1, 0.0, 0.07, 0.5])
def test_hues_turn_as_torchvisions(turn):
    pixels = torch.from_numpy(np.random.default_rng(1).random((3, 24, 20), np.float32))
    pixels[:, 0], pixels[:, 1], pixels[:, 2] = 0, 1, 0.3  # black, white, grey
    pixels[0, 3], pixels[1, 3] = 0.7, 0.7  # two channels alike
    torch.testing.assert_close(shift_hue(pixels, turn), functional.adjust_hue(pixels, turn), atol=1e-5, rtol=0)


def test_jitter_changes_by_the_strengths_allowed():
    grey = torch.full((3, 4, 4), 0.5)
    settings_ = Photometry(1.0, 0.0, 0.0, 0.0, strength=(0.4, 0.0, 0.0, 0.0))
    values = [float(change_colours(grey, settings_, np.random.default_rng(s)).mean()) for s in range(200)]
    assert 0.3 <= min(values) < 0.32
    assert 0.68 < max(values) <= 0.7


def test_all_together_stays_in_range_and_often_changes():
    pixels = torch.from_numpy(np.random.default_rng(1).random((3, 8, 8), np.float32))
    found = [change_colours(pixels, Photometry(0.8, 0.2, 1.0, 0.2), np.random.default_rng(s)) for s in range(20)]
    assert all(x.min() >= 0 and x.max() <= 1 and not torch.equal(x, pixels) for x in found)


def test_probabilities_of_the_second_view_are_its_own():
    picture = noise()
    first, second = TwoViews(plain(solarize=[0.0, 1.0], area=[1.0, 1.0], aspect=[1.0, 1.0], flip=0.0))(picture, 0)
    torch.testing.assert_close(second.pixels, torch.where(first.pixels >= 0.5, 1 - first.pixels, first.pixels))


def test_a_batch_holds_views_in_order_and_moves():
    views = TwoViews(ViewConfig(size=16))
    items = [(*views(noise(seed=i), i), 10 + i) for i in range(3)]
    batch = collate(items)
    assert isinstance(batch, ViewBatch)
    assert batch.first.shape == batch.second.shape == (3, 3, 16, 16)
    assert torch.equal(batch.second[1], items[1][1].pixels)
    assert torch.equal(batch.rect2[2], items[2][1].rect)
    assert batch.index.tolist() == [10, 11, 12]
    assert batch.to("meta").first.device.type == "meta"


@pytest.fixture
def dataset():
    return ViewDataset([noise(20, 24, seed=i) for i in range(7)], ViewConfig(size=12), seed=3)


def test_every_picture_comes_once_an_epoch_in_new_order(dataset):
    epochs = [[dataset[7 * epoch + i][2] for i in range(7)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_same_picture_looks_different_in_every_epoch(dataset):
    draws = {index: [d for d in range(14) if dataset[d][2] == index] for index in range(7)}
    assert all(not torch.equal(dataset[a][0].rect, dataset[b][0].rect) for a, b in draws.values())


def test_parts_of_a_batch_are_the_batch(dataset):
    whole = dataset.batch(2, 6, range(6))
    parts = [dataset.batch(2, 6, range(start, start + 2)) for start in (4, 0, 2)]
    for name in vars(whole):
        joined = torch.cat([getattr(parts[i], name) for i in (1, 2, 0)])
        assert torch.equal(joined, getattr(whole, name))
    assert whole.index.tolist() == [dataset[12 + i][2] for i in range(6)]


def test_another_seed_gives_other_batches(dataset):
    other = ViewDataset(dataset.pictures, ViewConfig(size=12), seed=4)
    assert not torch.equal(other.batch(0, 7, range(7)).rect1, dataset.batch(0, 7, range(7)).rect1)


def test_workers_change_nothing(dataset):
    steps = [[4 * step + i for i in range(4)] for step in range(3)]
    batches = [list(DataLoader(dataset, batch_sampler=steps, collate_fn=collate, num_workers=n)) for n in (0, 2)]
    for alone, shared in zip(*batches, strict=True):
        assert all(torch.equal(value, getattr(shared, name)) for name, value in vars(alone).items())
    assert torch.equal(batches[0][1].first, dataset.batch(1, 4, range(4)).first)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"area": [0.2]}, r"views\.area: got \[0\.2\], expected the smallest and the largest share"),
        ({"aspect": [2.0, 0.5]}, r"views\.aspect: got \[2\.0, 0\.5\], expected the smallest and the largest"),
        ({"blur": [0.5]}, r"views\.blur: got \[0\.5\], expected a probability for each of the two views"),
        ({"solarize": []}, r"views\.solarize: got \[\]"),
    ],
)
def test_lists_of_another_length_or_order_are_named(setting, message):
    with pytest.raises(ConfigError, match=message):
        TwoViews(ViewConfig(**setting))
