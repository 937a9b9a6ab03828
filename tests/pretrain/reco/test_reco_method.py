"""Every setting of the method has the effect that its name says."""

import math

import pytest
import torch
from tiny_reco import loss_of, tiny_batch, tiny_config, tiny_method

from pixgraph.pretrain.labelled_source import LabelledBatch, RecoBatch


def config_of(camvid, **settings):
    return tiny_config(camvid, **{"mixing": "classmix", "reco": True, **settings})


def test_supervised_alone(camvid):
    config = tiny_config(camvid)
    assert isinstance(tiny_batch(config), LabelledBatch)
    loss, logs = loss_of(config)
    assert set(logs) == {"supervised", "supervised_chance"}
    assert loss == pytest.approx(logs["supervised"])
    assert logs["supervised_chance"] == pytest.approx(math.log(11))


def test_supervised_with_contrast(camvid):
    loss, logs = loss_of(tiny_config(camvid, reco=True))
    assert loss == pytest.approx(logs["supervised"] + logs["reco"])
    assert "unsupervised" not in logs


def test_batches_have_as_many_pictures_without_labels(camvid):
    batch = tiny_batch(config_of(camvid, optim={"batch": 3}))
    assert isinstance(batch, RecoBatch)
    assert len(batch.labelled.images) == len(batch.unlabelled.images) == 3
    assert (batch.unlabelled.labels >= 254).all()
    assert (batch.labelled.labels < 254).any()


def test_the_loss_is_the_weighted_sum(camvid):
    for weight, contrast in ((1.0, 1.0), (0.5, 0.0), (0.0, 2.0)):
        settings = {"pseudo": {"weight": weight, "conf_thresh": 0.05}, "contrast": {"weight": contrast}}
        loss, logs = loss_of(config_of(camvid, **settings))
        assert logs["unsupervised"] > 0
        assert logs["reco"] > 0
        expected = logs["supervised"] + weight * logs["unsupervised"] + contrast * logs["reco"]
        assert loss == pytest.approx(expected, rel=1e-5)


def test_the_reco_flag(camvid):
    assert "reco" not in loss_of(config_of(camvid, reco=False))[1]
    assert "reco" in loss_of(config_of(camvid))[1]


def test_conf_thresh_weighs_the_pseudo_labels(camvid):
    low, high = (loss_of(config_of(camvid, pseudo={"conf_thresh": t}))[1] for t in (0.0, 1.0))
    assert low["sure"] == pytest.approx(1)
    assert high["sure"] == 0
    assert high["unsupervised"] == 0 < low["unsupervised"]


def test_pixel_threshold_drops_single_pseudo_labels(camvid, monkeypatch):
    import pixgraph.pretrain.reco.method as module

    found = []
    real = module.unsupervised_loss

    def spy(logits, label, confidence, threshold):
        found.append((label, confidence))
        return real(logits, label, confidence, threshold)

    monkeypatch.setattr(module, "unsupervised_loss", spy)
    loss_of(config_of(camvid))
    every, confidence = found.pop()
    middle = float(confidence[every < 254].median())
    loss_of(config_of(camvid, pseudo={"pixel_threshold": middle}))
    some, _ = found.pop()
    kept = confidence >= middle
    assert torch.equal(some[kept], every[kept])
    assert (some[~kept] == 254).all()
    assert 0 < int((some < 254).sum()) < int((every < 254).sum())


def test_weak_threshold_lets_pseudo_labels_into_the_contrast(camvid, monkeypatch):
    counts = []
    for threshold in (0.0, 1.0):
        seen = captured(config_of(camvid, pseudo={"weak_threshold": threshold}), monkeypatch)
        counts.append(int(seen["valid"].sum()))
        assert len(seen["valid"]) == 4
    assert counts[0] > counts[1] > 0


def captured(config, monkeypatch):
    """What the contrast is called with."""
    import pixgraph.pretrain.reco.method as module

    found = {}
    real = module.reco_loss

    def spy(representation, label, valid, probability, **settings):
        found.update(settings, valid=valid, representation=representation, probability=probability)
        return real(representation, label, valid, probability, **settings)

    monkeypatch.setattr(module, "reco_loss", spy)
    loss_of(config)
    monkeypatch.undo()
    return found


def test_settings_of_the_contrast_arrive(camvid, monkeypatch):
    settings = {"temperature": 0.3, "num_queries": 5, "num_negatives": 7, "threshold": 0.9}
    found = captured(config_of(camvid, contrast=settings), monkeypatch)
    assert (found["temperature"], found["num_queries"], found["num_negatives"]) == (0.3, 5, 7)
    assert found["strong_threshold"] == 0.9
    assert found["representation"].shape == (4, 8, 8, 8)
    assert found["representation"].requires_grad
    assert not found["probability"].requires_grad


def test_temperature_negatives_and_threshold_change_the_loss(camvid):
    _, base = loss_of(config_of(camvid))
    _, hot = loss_of(config_of(camvid, contrast={"temperature": 5.0}))
    _, more = loss_of(config_of(camvid, contrast={"num_negatives": 64}))
    _, none = loss_of(config_of(camvid, contrast={"threshold": 0.0}))
    assert abs(hot["reco"] - hot["reco_chance"]) < abs(base["reco"] - base["reco_chance"])
    assert base["reco_chance"] == pytest.approx(math.log(17))
    assert more["reco_chance"] == pytest.approx(math.log(65))
    assert none["reco"] == 0
    assert none["skipped"] >= 3


@pytest.mark.parametrize("mixing", ["cutout", "cutmix", "classmix"])
def test_each_mixing_makes_other_pictures_of_the_same_ones(camvid, mixing):
    config = config_of(camvid, mixing=mixing, views={"flip": 0.0, "jitter": 0.0, "blur": 0.0, "scale": [1.0, 1.0]})
    method, batch = tiny_method(config), tiny_batch(config)
    method.train()
    maps = method.pseudo(batch, 5)
    again = method.pseudo(batch, 5)
    assert all(torch.equal(a, b) for a, b in zip(maps, again, strict=True))
    weak = batch.unlabelled.images
    assert not torch.equal(maps.images, weak)
    same = (maps.images == weak).all(1)
    other = (maps.images == weak.roll(-1, 0)).all(1)
    if mixing == "cutout":
        assert ((maps.labels == 255) == ~same).float().mean() > 0.99
        assert (maps.confidences[~same] == 0).all()
    else:
        assert (same | other).all()
        assert (maps.confidences > 0).float().mean() > 0.8


def test_partial_labels_overwrite_the_teachers(camvid):
    config = config_of(camvid, labels={"num_labeled": None, "ratio": "p25"}, views={"scale": [1.0, 1.0], "flip": 0.0})
    batch = tiny_batch(config)
    known = batch.unlabelled.labels < 254
    assert 0.05 < known.float().mean() < 0.4
    method = tiny_method(config).train()
    method.config.mixing = "none"  # what the teacher said, in its place
    maps = method.pseudo(batch, 0)
    assert torch.equal(maps.labels[known], batch.unlabelled.labels[known])
    assert (maps.confidences[known] == 1).all()
    assert (maps.confidences[~known] < 1).all()


def test_gradients_reach_the_student_alone(camvid):
    config = config_of(camvid, pseudo={"conf_thresh": 0.05})
    method = tiny_method(config).train()
    loss, _ = method(tiny_batch(config), 0)
    loss.backward()
    assert all(p.grad is not None for p in method.student.parameters())
    assert all(p.grad is None for p in method.teacher.parameters())
    assert method.student.representation[0].weight.grad.abs().sum() > 0


def test_contrast_alone_trains_the_representation_and_not_the_classifier(camvid):
    config = config_of(camvid, contrast={"weight": 1.0})
    method = tiny_method(config).train()
    batch = tiny_batch(config)
    logits, embedding = method.student(batch.labelled.images)
    from pixgraph.pretrain.reco.seen import labelled_cells

    method.contrast([labelled_cells(logits, embedding, batch.labelled.labels)], 0).value.backward()
    assert method.student.classifier.weight.grad is None
    assert method.student.representation[-1].weight.grad.abs().sum() > 0


def test_the_decay_of_the_teacher(camvid):
    method = tiny_method(tiny_config(camvid, teacher={"decay": 0.6}))
    assert [method.after_step(step, 10)["momentum"] for step in (0, 1, 2, 9)] == [0, 0.5, 0.6, 0.6]


def test_modes_and_buffers_of_the_teacher(camvid):
    assert tiny_method(tiny_config(camvid)).teacher.with_buffers
    assert not tiny_method(config_of(camvid)).teacher.with_buffers
    assert tiny_method(config_of(camvid, teacher={"buffers": True})).teacher.with_buffers
    evaluated = tiny_method(config_of(camvid, teacher={"mode": "eval"})).train()
    assert evaluated.teacher.with_buffers
    assert not evaluated.teacher.network.training
    config = config_of(camvid)
    one, other = (tiny_method(c).train().pseudo(tiny_batch(config), 1).confidences for c in (config, evaluated.config))
    assert not torch.equal(one, other)
