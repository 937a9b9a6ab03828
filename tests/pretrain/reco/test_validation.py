import numpy as np
import pytest
import torch
from torch import nn

from pixgraph.data.semantic import open_semantic
from pixgraph.errors import ConfigError, DataError
from pixgraph.pretrain.validation import Validation, predict


class ByColour(nn.Module):
    """Knows the classes by their colours, at a quarter of the size."""

    def __init__(self, colours):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.numbers = sorted(colours)
        self.colours = torch.tensor([colours[n] for n in self.numbers]) / 255

    def forward(self, x):
        x = nn.functional.avg_pool2d(x, 4)
        away = (x[:, None] - self.colours[None, :, :, None, None]).square().sum(2)  # (B, n, h, w)
        logits = torch.full((len(x), 11, *x.shape[2:]), -100.0)
        logits[:, self.numbers] = -50 * away
        return logits, x


@pytest.fixture(scope="module")
def network():
    from tiny_reco import COLOURS

    return ByColour(COLOURS)


def test_scores_are_those_of_the_confusion_over_all_pictures(camvid, network):
    split = open_semantic(f"camvid:{camvid}", "val")
    validation = Validation(split, 0)
    scores = validation(network)
    assert not network.training
    assert 0.5 < scores["miou"] < 1
    hits = np.zeros(11)
    union = np.zeros(11)
    for index in range(len(split)):
        rgb, truth = split.read(index)
        found, confidence = predict(network, torch.from_numpy(rgb).permute(2, 0, 1), truth.shape)
        assert confidence.max() <= 1
        known = truth != 255
        for c in range(11):
            hits[c] += ((found == c) & (truth == c)).sum()
            union[c] += (((found == c) | (truth == c)) & known).sum()
    assert scores["miou"] == pytest.approx((hits[union > 0] / union[union > 0]).mean())
    found = validation.to_dict()
    assert found["classes"][0] == "sky"
    assert found["pictures"] == 3
    assert sum(map(sum, found["confusion"])) == sum((split.read_label(i) != 255).sum() for i in range(3))


def test_smaller_pictures_are_scored_at_full_size(camvid, network):
    split = open_semantic(f"camvid:{camvid}", "val")
    validation = Validation(split, 20, pictures=2)
    validation(network)
    assert validation.indices == [0, 1]
    picture, truth = validation.picture(0)
    assert picture.shape == (3, 20, 24)
    assert truth.shape == (40, 48)


def test_memory_is_bounded(camvid, network):
    split = open_semantic(f"camvid:{camvid}", "val")
    small, large = Validation(split, 0, cache_bytes=40 * 48 * 4), Validation(split, 0)
    assert small(network) == large(network) == small(network)
    assert (len(small._kept), len(large._kept)) == (1, 3)
    assert small.picture(0)[1] is small.picture(0)[1]


def test_pictures_are_read_beforehand_as_far_as_they_stay_in_memory(camvid):
    split = open_semantic(f"camvid:{camvid}", "val")
    read = []
    real = split.read
    split.read = lambda index: read.append(index) or real(index)
    small, large = Validation(split, 0, cache_bytes=40 * 48 * 4), Validation(split, 0)
    small.load()
    assert read == [0, 1]  # the second one does not fit
    large.load()
    assert len(large._kept) == 3


def test_labels_without_a_class_are_told(camvid, network):
    split = open_semantic(f"camvid:{camvid}", "val")
    split.read_label = lambda index: np.full((40, 48), 254 + index % 2, np.uint8)
    words = r"camvid \(val\): got 3 labels without a pixel of any class, expected some to validate on"
    with pytest.raises(DataError, match=words):
        Validation(split, 0, cache_bytes=1).load()
    with pytest.raises(DataError, match=words):
        Validation(split, 0)(network)


def test_breaking_off_and_nothing_to_score(camvid, network):
    split = open_semantic(f"camvid:{camvid}", "val")

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Validation(split, 0, stop=stop)(network)
    with pytest.raises(ConfigError, match="val_pictures: got 4, expected 1 to 3, the labelled pictures of camvid"):
        Validation(split, 0, pictures=4)
    split.has_label = lambda index: False
    with pytest.raises(DataError, match=r"camvid \(val\): got no labelled picture, expected some to validate on"):
        Validation(split, 0)
