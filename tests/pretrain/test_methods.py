"""The methods on a tiny network: terms, gradients, target, logs, and batches that offer nothing."""

import math

import pytest
import torch
from tiny_encoder import WHOLE, TinyEncoder, tiny_batch, tiny_config

from pixgraph.errors import ConfigError
from pixgraph.losses.pixcontrast import pixcontrast_loss
from pixgraph.losses.pixpro import pixpro_loss
from pixgraph.pretrain import pixpro
from pixgraph.pretrain.methods import METHODS, build_method
from pixgraph.pretrain.pairs import positive_pairs

FLIPPED = [0.9, 0.1, 0.2, 0.8]
DISJOINT = ([0.0, 0.0, 0.3, 0.3], [0.7, 0.7, 1.0, 1.0])


def method_of(name, **pixel):
    torch.manual_seed(0)
    strides = (1, 4) if name == "pixpro_full" else (4,)
    return build_method(name, TinyEncoder(*strides), tiny_config(**pixel))


def by_hand(name, method, batch):
    """The loss of the whole maps, put together from its parts."""
    followed = [method.target.network(x).pixel for x in (batch.first, batch.second)]
    own = [method.student.pixel(method.encoder(x)[0]) for x in (batch.first, batch.second)]
    positive = positive_pairs(batch.rect1, batch.rect2, own[0].shape[2:], 0.7)
    if name == "pixcontrast":
        return pixcontrast_loss(*own, *followed, positive, 0.3)
    return pixpro_loss(*(method.propagation(x) for x in own), *followed, positive)


@pytest.mark.parametrize("name", ["pixpro", "pixcontrast"])
def test_loss_is_put_together_from_its_parts(name):
    method, batch = method_of(name), tiny_batch()
    method.update_target(0.0)
    loss, logs = method(batch, 0)
    torch.testing.assert_close(loss, by_hand(name, method, batch))
    assert float(logs[name]) == loss.item()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_every_trained_parameter_gets_a_gradient_and_the_target_none(name, weight):
    method = method_of(name, instance_weight=weight, bottleneck_weight=weight if name == "pixpro_full" else 0.0)
    loss, _ = method(tiny_batch(), 0)
    loss.backward()
    used = [key for key, p in method.named_parameters() if p.grad is not None]
    wanted = {key for key, p in method.named_parameters() if p.requires_grad}
    if name == "pixpro_full" and not weight:  # nothing looks at the bottleneck
        wanted -= {key for key in wanted if key.startswith("student.encoder.network.1")}
    assert set(used) == wanted
    assert not any(key.startswith("target") for key in used)
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", METHODS)
def test_logs_from_the_first_step(name):
    _, logs = method_of(name, instance_weight=1.0)(tiny_batch(), 0)
    term = "pixcontrast" if name == "pixcontrast" else "pixpro"
    assert {term, f"{term}_chance", "instance", "instance_chance", "positives", "skipped", "no_pairs"} <= set(logs)
    assert float(logs["embedding_std_healthy"]) == pytest.approx(8**-0.5)
    assert 0 < float(logs["embedding_std"]) < 1
    assert 1 <= float(logs["embedding_rank"]) <= 8
    assert all(math.isfinite(float(value)) for value in logs.values())
    assert not any(isinstance(value, torch.Tensor) and value.requires_grad for value in logs.values())
    assert (float(logs["skipped"]), float(logs["no_pairs"])) == (0, 0)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_without_any_pair_has_loss_zero_and_trains_on(name):
    method = method_of(name)
    loss, logs = method(tiny_batch(rects=DISJOINT), 0)
    loss.backward()
    assert loss.item() == 0
    assert (float(logs["no_pairs"]), float(logs["skipped"]), float(logs["positives"])) == (1, 3, 0)
    assert method.student.pixel.second.weight.grad.abs().sum() == 0


@pytest.mark.parametrize("name", METHODS)
def test_a_picture_without_pairs_is_skipped_and_counted(name):
    rects = ([DISJOINT[0], WHOLE, WHOLE], [DISJOINT[1], FLIPPED, FLIPPED])
    _, logs = method_of(name)(tiny_batch(rects=rects), 0)
    assert (float(logs["skipped"]), float(logs["no_pairs"])) == (1, 0)
    assert float(logs["positives"]) > 0


@pytest.mark.parametrize("name", METHODS)
def test_steps_bring_the_loss_down(name):
    method = method_of(name, ppm_layers=0)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.05, 0.9)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss, _ = method(tiny_batch(), 0)
        loss.backward()
        optimizer.step()
        method.update_target(0.9)
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_loss_whatever_was_drawn_before(name):
    method = method_of(name)
    losses = []
    for _ in range(2):
        torch.rand(3)
        losses.append(method(tiny_batch(), 5)[0].item())
    assert losses[0] == losses[1]


def test_target_follows_the_student_alone():
    method = method_of("pixpro")
    student = [p.clone() for p in method.student.parameters()]
    before = [p.clone() for p in method.target.parameters()]
    with torch.no_grad():
        for p in method.student.parameters():
            p.add_(1)
    method.update_target(0.75)
    for own, old in zip(method.target.parameters(), before, strict=True):
        torch.testing.assert_close(own, old + 0.25)
    for now, old in zip(method.student.parameters(), student, strict=True):
        torch.testing.assert_close(now, old + 1)


def test_rule_and_threshold_come_from_the_configuration():
    batch = tiny_batch()
    counts = [
        float(method_of("pixpro", pairs=rule, threshold=t)(batch, 0)[1]["positives"])
        for rule, t in (("pixpro", 0.7), ("pixpro", 2.0), ("pixelcl", 0.7))
    ]
    shape = (4, 4)
    assert counts == [
        float(positive_pairs(batch.rect1, batch.rect2, shape, t, rule).sum((1, 2)).float().mean())
        for rule, t in (("pixpro", 0.7), ("pixpro", 2.0), ("pixelcl", 0.7))
    ]
    assert counts[1] > counts[0]


def test_one_picture_at_a_map_of_one_cell_is_refused_in_words():
    method = build_method("pixpro", TinyEncoder(4), tiny_config(4))
    with pytest.raises(ConfigError, match=r"a batch of 1 picture of 4 x 4 pixels at a map of one cell of tiny; take a"):
        method(tiny_batch(1, 4), 0)
    assert method(tiny_batch(2, 4), 0)[0].isfinite()
    assert build_method("pixpro", TinyEncoder(4), tiny_config())(tiny_batch(1), 0)[0].isfinite()


@pytest.mark.parametrize("name", ["pixpro", "pixcontrast"])
def test_maps_too_large_to_compare_are_refused_in_words(name, monkeypatch):
    monkeypatch.setattr(pixpro, "MOST_PAIRS", 3 * 16**2 - 1)
    with pytest.raises(ConfigError, match=r"a map of 4 x 4 cells has 256 pairs a picture.*take the method pixpro_full"):
        method_of(name)(tiny_batch(), 0)


def test_refuses_unknown_methods_and_a_bottleneck_that_is_not_there():
    with pytest.raises(ConfigError, match=r"method 'byol' is unknown; expected one of pixpro, pixcontrast, pix"):
        build_method("byol", TinyEncoder(4), tiny_config())
    with pytest.raises(ConfigError, match=r"bottleneck_weight is 0.5, but pixpro trains one map"):
        build_method("pixpro", TinyEncoder(4), tiny_config(bottleneck_weight=0.5))
    with pytest.raises(ConfigError, match=r"bottleneck_weight is 0.5, but tiny gives one map; expected a UNet"):
        build_method("pixpro_full", TinyEncoder(1), tiny_config(bottleneck_weight=0.5))


@pytest.mark.parametrize("name", METHODS)
def test_autocast_gives_finite_gradients(name):
    method = method_of(name, instance_weight=1.0)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = method(tiny_batch(), 0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)
