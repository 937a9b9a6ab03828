import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.features import FeatureStore
from pixgraph.config import BackboneConfig, SourceConfig
from pixgraph.data.base import FewShotDataset, Sample
from pixgraph.data.catalog import open_dataset
from pixgraph.errors import DataError
from pixgraph.probe.config import LinearConfig
from pixgraph.probe.linear import LinearProbe, PixelSample, class_ids, draw_pixels, fit_linear, score_linear


@pytest.fixture(scope="module")
def store():
    return FeatureStore(build_backbone(BackboneConfig()), 64)


@pytest.fixture(scope="module")
def train(streets):
    return open_dataset(SourceConfig("camvid", str(streets)), "train")


def _sample(rows, classes, channels, seed=0):
    """Pixels of gaussian classes, and the matching counts of two pictures."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, classes + 1, rows)
    features = rng.normal(size=(rows, channels)) * rng.uniform(0.1, 10, channels) + 3 + labels[:, None] % 3
    counts = np.bincount(labels, minlength=256)
    return PixelSample(torch.tensor(features, dtype=torch.float32), torch.tensor(labels), np.stack([counts, counts]))


@pytest.mark.parametrize("weighting", ["none", "inverse"])
def test_equals_scikit_learn(weighting):
    linear_model = pytest.importorskip("sklearn.linear_model")
    sample = _sample(300, 3, 6)
    config = LinearConfig(weighting=weighting, penalty=0.01, steps=400)
    probe = fit_linear(sample, [1, 2, 3], [0], config)
    x = sample.features.numpy()
    x = (x - x.mean(0)) / x.std(0)
    balanced = {"none": None, "inverse": "balanced"}[weighting]
    oracle = linear_model.LogisticRegression(C=1 / (0.01 * 300), max_iter=2000, tol=1e-8, class_weight=balanced)
    oracle.fit(x, sample.labels.numpy())
    logits = sample.features @ probe.weight.T + probe.bias
    assert np.allclose(logits.softmax(1).numpy(), oracle.predict_proba(x), atol=2e-3)


def test_a_channel_may_be_scaled_and_moved_without_effect():
    sample = _sample(200, 3, 4)
    moved = PixelSample(sample.features * torch.tensor([1.0, 50, 0.02, 3]) - 7, sample.labels, sample.counts)
    config = LinearConfig(penalty=0.01)
    one, other = (fit_linear(s, [1, 2, 3], [0], config) for s in (sample, moved))
    assert torch.allclose(
        sample.features @ one.weight.T + one.bias, moved.features @ other.weight.T + other.bias, atol=1e-2
    )


def test_scores_of_a_picture_are_those_of_its_pixels(noise_picture):
    picture = noise_picture()
    size = (45, 70)  # the photograph's, which is no multiple of anything
    generator = torch.Generator().manual_seed(1)
    probe = LinearProbe([1, 2, 3], torch.randn(3, 8, generator=generator), torch.randn(3, generator=generator), [1, 0])
    joined = torch.cat(
        [F.interpolate(picture.features[i][None], size, mode="bilinear", align_corners=False)[0] for i in (1, 0)]
    )
    expected = torch.einsum("mc,chw->mhw", probe.weight, joined) + probe.bias[:, None, None]
    assert torch.allclose(probe.scores(picture, size), expected, atol=1e-5)
    assert (probe.predict(picture, size) == expected.argmax(0).numpy() + 1).all()


def test_pixels_have_the_features_and_labels_of_their_place(train, store):
    sample = draw_pixels(train, store, [0, 2], 6 * 50, seed=3)
    assert sample.features.shape == (300, sum(store.backbone.channels[i] for i in (0, 2)))
    mask = train.read_mask(1)
    known = np.flatnonzero(mask != 255)
    places = np.random.default_rng([3, 1]).choice(known, 50, replace=False)
    assert sample.labels[50:100].tolist() == mask.ravel()[places].tolist()
    maps = store.picture(train, 1).features
    full = torch.cat(
        [F.interpolate(maps[i][None], mask.shape, mode="bilinear", align_corners=False)[0] for i in (0, 2)]
    ).flatten(1)
    assert torch.allclose(sample.features[50:100], full[:, places].T, atol=1e-4)
    assert sample.counts[1].tolist() == np.bincount(mask.ravel(), minlength=256).tolist()


def test_the_draw_follows_the_seed(train, store):
    one, same, other = (draw_pixels(train, store, [0], 60, seed) for seed in (0, 0, 1))
    assert torch.equal(one.features, same.features)
    assert not torch.equal(one.features, other.features)


def test_colours_are_told_apart(train, streets, store):
    sample = draw_pixels(train, store, range(6), 3000, seed=0)
    ids = class_ids(train, sample.counts)
    assert ids == list(range(1, 12))
    probe = fit_linear(sample, ids, range(6), LinearConfig())
    scored = score_linear(probe, open_dataset(SourceConfig("camvid", str(streets)), "val"), store)
    iou = scored.iou()
    assert np.flatnonzero(~np.isnan(iou)).tolist() == [0, 3, 8]  # sky, road, car; the others are nowhere
    assert scored.miou() > 0.75
    assert scored.counts.sum() == 3 * 48 * 61  # void does not count


class _Made(FewShotDataset):
    """Pictures of one colour a class; class 0 is background."""

    def __init__(self, masks):
        super().__init__("made", "train", {4: "brick"}, [Sample(str(i)) for i in range(len(masks))])
        self.masks = masks

    def read_image(self, index):
        return np.repeat((40 * self.masks[index])[..., None] % 255, 3, 2).astype(np.uint8)

    def read_mask(self, index):
        return self.masks[index]

    def has_mask(self, index):
        return self.masks[index] is not None

    def fingerprint(self, index):
        return f"made {index} {self.masks[index].tobytes().hex()[:64]}"


def test_background_is_a_class_where_there_is_any(store):
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 4
    both = _Made([mask])
    sample = draw_pixels(both, store, [0], 500, seed=0)
    ids = class_ids(both, sample.counts)
    assert ids == [0, 4]
    probe = fit_linear(sample, ids, [0], LinearConfig())
    assert score_linear(probe, both, store).counts.sum() == 32 * 32
    alone = LinearProbe([4], probe.weight[1:], probe.bias[1:], [0])
    assert score_linear(alone, both, store).counts.tolist() == [[256]]


def test_no_labelled_pixel_is_an_error(store):
    unknown = _Made([np.full((32, 32), 255, np.uint8)])
    with pytest.raises(DataError, match=r"made \(train\): no labelled pixel in 1 pictures, expected masks"):
        draw_pixels(unknown, store, [0], 10, seed=0)
