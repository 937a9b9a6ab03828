"""Pixels that nobody annotated (254) take part in no loss of labels, exactly as ignored ones (255)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.losses.pixel_gnn import draw_partners, pixel_gnn_contrast
from pixgraph.losses.segmentation import class_targets
from pixgraph.losses.self_prediction import self_prediction
from pixgraph.losses.supcon import supervised_chance, supervised_contrast
from pixgraph.models.cell_labels import label_areas

LABEL = torch.tensor([0, 0, 1, 1, 2, 2, 254, 254, 255, 0, 1, 254])


def unit(n, seed=0):
    return F.normalize(torch.randn(n, 5, generator=torch.Generator().manual_seed(seed)), dim=1)


def partners(embedding, label):
    return pixel_gnn_contrast(embedding, draw_partners(label, np.random.default_rng(0), 8, 4, 4))


@pytest.mark.parametrize("loss", [supervised_contrast, self_prediction, partners])
def test_node_losses(loss):
    embedding = unit(len(LABEL))
    known = LABEL < 254
    ignored = LABEL.where(known, torch.tensor(255))
    expected = loss(embedding, ignored)
    torch.testing.assert_close(loss(embedding, LABEL), expected)
    if loss is not partners:  # positions of the draws differ
        torch.testing.assert_close(loss(embedding[known], LABEL[known]), expected)
    assert supervised_chance(LABEL) == supervised_chance(ignored)


def test_shares_of_cells():
    rng = np.random.default_rng(0)
    label = torch.from_numpy(rng.choice([0, 1, 2, 254, 255], (16, 16)))
    ignored = label.where(label < 254, torch.tensor(255))
    for one, other in zip(class_targets(label, 2, (4, 4)), class_targets(ignored, 2, (4, 4)), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(label_areas(label[None], 2, 4, 4), label_areas(ignored[None], 2, 4, 4))
