import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.pretrain.reco.pseudo import pseudo_labels, supervised_loss, unsupervised_loss
from pixgraph.pretrain.reco.seen import labelled_cells, pseudo_cells


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_what_is_known_wins_over_the_teacher():
    known = torch.full((1, 2, 2), 254)
    known[0, 0, 1], known[0, 1, 1] = 2, 255
    logits = draw(1, 3, 2, 2)
    maps = pseudo_labels(torch.rand(1, 3, 2, 2), logits, known)
    confidence, label = logits.softmax(1).max(1)
    assert maps.labels.tolist() == [[[int(label[0, 0, 0]), 2], [int(label[0, 1, 0]), 255]]]
    assert maps.confidences[0, 0, 1] == 1
    assert maps.confidences[0, 1, 1] == 0
    assert torch.equal(maps.confidences[0, :, 0], confidence[0, :, 0])


def test_supervised_loss_is_the_mean_over_annotated_pixels():
    logits = draw(2, 3, 4, 4, seed=1).requires_grad_()
    label = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(2))
    label[0, :4], label[1, 2:] = 254, 255
    full = F.interpolate(logits, (8, 8), mode="bilinear")
    expected = [
        -full[b, :, y, x].log_softmax(0)[label[b, y, x]].item()
        for b in range(2)
        for y in range(8)
        for x in range(8)
        if label[b, y, x] < 3
    ]
    assert supervised_loss(logits, label).item() == pytest.approx(np.mean(expected), rel=1e-5)
    assert supervised_loss(torch.zeros(1, 5, 2, 2), torch.zeros(1, 2, 2).long()).item() == pytest.approx(math.log(5))


@pytest.mark.parametrize("code", [254, 255])
def test_no_annotated_pixel_gives_zero_with_gradient_zero(code):
    logits = draw(1, 3, 4, 4).requires_grad_()
    loss = supervised_loss(logits, torch.full((1, 4, 4), code))
    loss = loss + unsupervised_loss(logits, torch.full((1, 4, 4), code), torch.ones(1, 4, 4), 0.5)[0]
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


def test_unsupervised_loss_against_a_loop():
    logits = draw(3, 4, 5, 5, seed=3)
    generator = torch.Generator().manual_seed(4)
    label = torch.randint(0, 4, (3, 5, 5), generator=generator)
    label[0, 0], label[1, :, 2] = 255, 254
    confidence = torch.rand(3, 5, 5, generator=generator)
    confidence[2] = 0.1  # never sure: its pixels do not count
    total, count, shares = 0.0, 0, []
    for b in range(3):
        valid = [(y, x) for y in range(5) for x in range(5) if label[b, y, x] < 4]
        shares.append(sum(confidence[b, y, x] >= 0.6 for y, x in valid) / len(valid))
        for y, x in valid:
            loss = -logits[b, :, y, x].log_softmax(0)[label[b, y, x]] * shares[-1]
            total, count = total + loss, count + (loss > 0)
    value, eta = unsupervised_loss(logits, label, confidence, 0.6)
    assert eta.tolist() == pytest.approx([float(s) for s in shares])
    assert value.item() == pytest.approx(float(total / count), rel=1e-5)
    assert eta[2] == 0


def test_the_threshold_weighs_pictures():
    logits, label = draw(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    confidence = torch.linspace(0.1, 1, 16).view(1, 4, 4)
    losses = [unsupervised_loss(logits, label, confidence, t)[0].item() for t in (0.0, 0.5, 1.0)]
    assert losses[0] > losses[1] > losses[2] > 0
    assert unsupervised_loss(logits, label, confidence * 0.9, 1.0)[0].item() == 0


def test_cells_of_labels_keep_marks_and_cells_of_pseudo_labels_their_confidence():
    logits, embedding = draw(1, 3, 2, 2, seed=5).requires_grad_(), draw(1, 6, 2, 2).requires_grad_()
    label = torch.full((1, 8, 8), 254)
    label[0, 1, 0], label[0, 6, 6] = 1, 2
    seen = labelled_cells(logits, embedding, label)
    assert seen.label[0].tolist() == [[1, 254], [254, 2]]
    assert seen.valid[0].tolist() == [[True, False], [False, True]]
    assert torch.allclose(seen.probability, logits.softmax(1))
    assert not seen.probability.requires_grad
    assert seen.embedding is embedding
    confidence = torch.zeros(1, 8, 8)
    confidence[0, 2, 2], confidence[0, 2, 6], confidence[0, 6, 2] = 0.8, 0.69, 1.0
    pseudo = torch.arange(64).view(1, 8, 8) % 3
    pseudo[0, 6, 2] = 255
    found = pseudo_cells(logits, embedding, pseudo, confidence, 0.7)
    assert found.label[0].tolist() == [[int(pseudo[0, y, x]) for x in (2, 6)] for y in (2, 6)]
    assert found.valid[0].tolist() == [[True, False], [False, False]]


def test_finer_logits_are_brought_to_the_cells():
    seen = labelled_cells(torch.zeros(1, 4, 8, 8), torch.zeros(1, 2, 2, 2), torch.zeros(1, 8, 8).long())
    assert seen.probability.shape == (1, 4, 2, 2)
    assert torch.allclose(seen.probability, torch.tensor(0.25))
