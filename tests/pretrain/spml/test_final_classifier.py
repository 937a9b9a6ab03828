"""The last classifier: labels of every cell by marks and retrieval, fixed embeddings, the same from the same seed."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[2] / "data"))
import numpy as np
from fake_own import MemoryDataset

from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import CheckpointError
from pixgraph.pretrain.spml.classifier import PixelClassifier
from pixgraph.pretrain.spml.config import MarksConfig
from pixgraph.pretrain.spml.final_classifier import (
    Embedded,
    embed_pictures,
    fit_classifier,
    load_classifier,
    save_classifier,
)
from pixgraph.pretrain.spml.retrieval import SegmentRetrieval
from pixgraph.pretrain.spml.weak_labels import WeakLabels


def colours(images):
    """Unit embeddings that tell the greys of the picture, at stride 4."""
    grey = F.avg_pool2d(images[:, :1], 4) * 255 / 20
    return F.normalize(torch.cat([(grey - c).square().mul(-4).exp() for c in range(3)], 1) + 0.01, dim=1)


@pytest.fixture
def labels():
    masks = {}
    for i in range(4):
        mask = np.zeros((32, 40), np.uint8)
        mask[8:24, 4 + 4 * i : 16 + 4 * i], mask[24:, 28:] = 1, 2
        masks[f"p{i}"] = mask
    split = SemanticSplit(MemoryDataset(masks, {1: "cat", 2: "dog"}, "train"))
    return WeakLabels(split, "points", MarksConfig(thicken=0.0))


def test_every_cell_gets_the_label_of_its_marks_or_of_retrieval(labels):
    retrieval = SegmentRetrieval(colours, 3, grid=(4, 4), neighbours=3)
    retrieval.remember(labels.split, labels.indices, labels.known)
    pictures = embed_pictures(retrieval, labels, 0)
    for index, picture in zip(labels.indices, pictures, strict=True):
        truth = torch.from_numpy(labels.split.read_label(index)[2::4, 2::4].astype(np.int64))
        assert picture.label.shape == picture.unit.shape[1:] == (8, 10)
        assert float((picture.label == truth).float().mean()) > 0.9
    one, two = (fit_classifier(pictures, 8, 3, 0.1, 60, 0) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    found = one(pictures[0].unit[None]).argmax(1)[0]
    assert float((found == pictures[0].label).float().mean()) > 0.85


def test_pictures_of_different_sizes_are_cut_alike():
    g = torch.Generator().manual_seed(0)
    sizes = [(5, 9), (7, 4), (6, 6)]
    pictures = [Embedded(torch.randn(4, h, w, generator=g), torch.zeros(h, w, dtype=torch.int64)) for h, w in sizes]
    classifier = fit_classifier(pictures, 5, 2, 0.0, 3, 1)
    assert classifier(pictures[1].unit[None]).shape == (1, 2, 7, 4)
    assert not classifier.training


def test_weights_are_kept_and_belong_to_one_classifier(tmp_path):
    made, other = PixelClassifier(4, 5, 2), PixelClassifier(4, 5, 2)
    load_classifier(tmp_path, other)  # nothing is there
    save_classifier(tmp_path, made)
    load_classifier(tmp_path, other)
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), other.state_dict().values(), strict=True))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        load_classifier(tmp_path, PixelClassifier(4, 6, 2))
