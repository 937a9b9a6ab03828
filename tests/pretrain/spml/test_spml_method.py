"""SPML on a tiny network: what has a gradient, what does not, what the bank changes."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from pixgraph.pretrain.spml.config import SegmentConfig, SPMLConfig
from pixgraph.pretrain.spml.method import SPML, WeakBatch
from pixgraph.training.randomness import torch_seed

CLASSES = 3


class TinyNetwork(nn.Module):
    """The interface of a segmentation network in one strided convolution."""

    classes, embedding_channels, pretrained_on, embedding_layer = CLASSES, 6, "nothing", "network"

    def __init__(self):
        super().__init__()
        self.network = nn.Conv2d(3, 6, 4, stride=4)
        self.classifier = nn.Conv2d(6, CLASSES, 1)

    def forward(self, x):
        found = self.network(x)
        return self.classifier(found), found


def weak_batch(pictures=2, side=32, seed=0, labelled=0.1):
    g = torch.Generator().manual_seed(seed)
    labels = torch.full((pictures, side, side), 254)
    marks = torch.rand(labels.shape, generator=g) < labelled
    labels[marks] = torch.randint(0, CLASSES, (int(marks.sum()),), generator=g)
    labels[:, :4] = 255
    regions = torch.randint(0, 4, (pictures, side, side), generator=g)
    tags = torch.eye(CLASSES, dtype=torch.bool)[torch.arange(pictures) % CLASSES]
    images = torch.rand(pictures, 3, side, side, generator=g)
    return WeakBatch(images, labels, regions, tags, torch.arange(pictures))


def tiny_spml(background=None, **settings):
    spml = {"grid": [2, 2], "bank_segments": 64, "hidden": 5, "dropout": 0.0}
    spml |= {key: settings.pop(key) for key in list(settings) if key not in ("relations", "annotation")}
    config = SPMLConfig(spml=SegmentConfig(**spml), **settings)
    with torch_seed(0):
        return SPML(TinyNetwork(), config, background).train()


def gradients(method, batch):
    method.zero_grad()
    loss, logs = method(batch, 0)
    loss.backward()
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}, logs


def test_all_relations_are_logged_beside_their_chance_and_lower_the_loss():
    method = tiny_spml(feat_aff=0.5)
    batch = weak_batch()
    optimizer = torch.optim.Adam(method.parameters(), 0.01)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss, logs = method(batch, 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for name in ("sem_ann", "sem_occ", "img_sim", "feat_aff", "classifier"):
        assert float(logs[f"{name}_chance"]) > 0
        assert math.isfinite(float(logs[name]))
    assert losses[-1] < losses[0] - 0.1


def test_the_classifier_does_not_train_the_embedding():
    method = tiny_spml(sem_ann=0.0, sem_occ=0.0, img_sim=0.0, feat_aff=1e-9)
    found, _ = gradients(method, weak_batch())
    assert found["network.network.weight"].abs().max() < 1e-7
    assert found["classifier.0.weight"].abs().max() > 1e-4


def test_the_classifier_trains_the_embedding_where_asked():
    alone, _ = gradients(tiny_spml(), weak_batch())
    both, _ = gradients(tiny_spml(detach=False), weak_batch())
    assert not torch.allclose(alone["network.network.weight"], both["network.network.weight"])
    torch.testing.assert_close(alone["classifier.0.weight"], both["classifier.0.weight"])


def test_the_classifier_learns_from_propagated_labels_where_asked():
    alone, logs = gradients(tiny_spml(), weak_batch())
    more, others = gradients(tiny_spml(propagate=0.5), weak_batch())
    assert not torch.allclose(alone["classifier.0.weight"], more["classifier.0.weight"])
    torch.testing.assert_close(alone["network.network.weight"], more["network.network.weight"])
    assert float(logs["sem_ann"]) == float(others["sem_ann"])


def test_without_contrasts_the_classifier_trains_the_embedding():
    method = tiny_spml(relations="none")
    found, logs = gradients(method, weak_batch())
    assert found["network.network.weight"].abs().max() > 1e-4
    assert "sem_ann" not in logs
    assert method.bank.batches == 0


@pytest.mark.parametrize("only", ["sem_ann", "sem_occ", "img_sim", "feat_aff"])
def test_each_weight_and_concentration_has_its_effect(only):
    weights = dict.fromkeys(("sem_ann", "sem_occ", "img_sim", "feat_aff"), 0.0)
    batch = weak_batch()
    one, logs = gradients(tiny_spml(**{**weights, only: 0.5}), batch)
    two, _ = gradients(tiny_spml(**{**weights, only: 1.0}), batch)
    assert {n for n in ("sem_ann", "sem_occ", "img_sim", "feat_aff") if n in logs} == {only}
    assert one["network.network.weight"].abs().max() > 1e-6
    torch.testing.assert_close(two["network.network.weight"], 2 * one["network.network.weight"])
    other, _ = gradients(tiny_spml(**{**weights, only: 0.5, f"k_{only}": 3.0}), batch)
    assert not torch.allclose(other["network.network.weight"], one["network.network.weight"])


def test_unused_logits_are_not_trained():
    found, _ = gradients(tiny_spml(), weak_batch())
    assert not [name for name in found if name.startswith("network.classifier")]


def test_the_bank_fills_in_training_only_and_changes_the_loss():
    method = tiny_spml(img_sim=0.0)
    first = method(weak_batch(), 0)[1]["sem_ann"]
    assert int(method.bank.count.sum()) > 0
    assert not torch.equal(method(weak_batch(), 0)[1]["sem_ann"], first)
    method.eval()
    before = method.bank.direction.clone()
    method(weak_batch(seed=1), 0)
    assert torch.equal(method.bank.direction, before)


def test_the_background_is_no_tag():
    batch = weak_batch()
    shared = dataclasses.replace(batch, tags=batch.tags | torch.tensor([False, False, True]))
    assert float(tiny_spml()(shared, 0)[1]["sem_occ_chance"]) == 0
    assert float(tiny_spml(background=2)(shared, 0)[1]["sem_occ_chance"]) > 0


@pytest.mark.parametrize("value", [0, 254, 255], ids=["single class", "nothing annotated", "nothing inside"])
def test_batches_without_a_contrast_of_labels_train_all_the_same(value):
    batch = weak_batch()
    labels = torch.full_like(batch.labels, value)
    method = tiny_spml()
    found, logs = gradients(method, dataclasses.replace(batch, labels=labels))
    assert float(logs["sem_ann"]) == 0
    assert all(g.isfinite().all() for g in found.values())
    assert (float(logs["img_sim"]) > 0) == (value != 255)


def test_ignored_pixels_have_no_influence_and_unlabelled_ones_have():
    batch = weak_batch()
    logs = tiny_spml()(batch, 0)[1]
    regions = batch.regions.clone()
    regions[:, :4] = 9  # 255 there
    assert float(tiny_spml()(dataclasses.replace(batch, regions=regions), 0)[1]["img_sim"]) == float(logs["img_sim"])
    labels = batch.labels.masked_fill(batch.labels == 254, 255)
    assert float(tiny_spml()(dataclasses.replace(batch, labels=labels), 0)[1]["img_sim"]) != float(logs["img_sim"])


def test_names_of_classes_do_not_matter_to_the_contrasts():
    """One mark a cell: of several classes in equal numbers a cell takes the first."""
    batch = weak_batch()
    batch.labels[:, torch.arange(32) % 4 > 0] = 254
    batch.labels[:, :, torch.arange(32) % 4 > 0] = 254
    batch.labels[:, 4::4, ::8] = torch.arange(4) % CLASSES
    renamed = torch.where(batch.labels < CLASSES, (batch.labels + 1) % CLASSES, batch.labels)
    other = dataclasses.replace(batch, labels=renamed, tags=batch.tags.roll(1, 1))
    logs, found = tiny_spml()(batch, 0)[1], tiny_spml()(other, 0)[1]
    for name in ("sem_ann", "sem_occ", "img_sim"):
        assert float(found[name]) == pytest.approx(float(logs[name]), rel=1e-5)


def test_half_precision_gives_finite_gradients():
    method = tiny_spml(feat_aff=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = method(weak_batch(), 0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
