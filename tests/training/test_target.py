"""The target encoder: there only when asked for, following the encoder, saved and resumed to the bit."""

import math

import pytest
import torch
from tiny_training import outcome, same, tiny_config, tiny_train
from toy_tasks import CHANNELS, STRIDES, graph_config, network, task

from pixgraph.config import ModelConfig
from pixgraph.models.encoder import NodeEncoder
from pixgraph.models.network import PixGraphNet
from pixgraph.training.schedule import target_decay
from pixgraph.training.step import episode_loss


def made(target, seed=0):
    torch.manual_seed(seed)
    return PixGraphNet(CHANNELS, ModelConfig(width=16, heads=2, decoder_blocks=1, target=target), STRIDES)


def test_the_other_weights_are_named_shaped_and_started_the_same_with_and_without():
    bare, full = made(False).state_dict(), made(True).state_dict()
    assert list(full)[: len(bare)] == list(bare)
    assert all(torch.equal(full[name], weight) for name, weight in bare.items())
    assert {name.split(".")[0] for name in full if name not in bare} == {"predictor", "target"}


def test_the_target_starts_as_a_copy_that_is_not_trained():
    net = made(True)
    own = dict(net.named_parameters())
    for name, p in net.target.named_parameters():
        assert torch.equal(p, own[name])
        assert p.data_ptr() != own[name].data_ptr()
        assert not p.requires_grad
    assert {n.split(".")[0] for n, _ in net.target.named_parameters()} == {"project", "enter", "encoder", "metric"}


def test_following_in_closed_form():
    net = made(True)
    start = net.target.enter.weight.clone()
    with torch.no_grad():
        net.enter.weight.fill_(2.0)
    for _ in range(3):
        net.update_target(0.8)
    torch.testing.assert_close(net.target.enter.weight, 0.8**3 * start + (1 - 0.8**3) * 2)
    before = net.target.enter.weight.clone()
    net.update_target(1.0)
    assert torch.equal(net.target.enter.weight, before)
    net.update_target(0.0)
    assert (net.target.enter.weight == 2).all()
    made(False).update_target(0.5)  # nothing to do


def test_a_target_changes_no_output():
    some, plain = task(), network()
    with_target = network(target=True)
    with_target.load_state_dict({**with_target.state_dict(), **plain.state_dict()})
    config = tiny_config("runs")
    config.graph = graph_config()
    values = [episode_loss(net, some, config, 0)[0].item() for net in (plain, with_target)]
    assert values[0] == values[1]


def test_decay_in_closed_form():
    config = tiny_config("runs", steps=100)
    config.loss.target_decay = 0.9
    rises = [target_decay(step, config) for step in range(101)]
    assert rises[0] == pytest.approx(0.9)
    assert rises[50] == pytest.approx(0.95)
    assert rises[25] == pytest.approx(1 - 0.05 * (1 + math.cos(math.pi / 4)))
    assert rises[100] == 1
    assert rises == sorted(rises)
    config.loss.target_schedule = "constant"
    assert {target_decay(step, config) for step in range(101)} == {0.9}


def bgrl_config(runs, run):
    config = tiny_config(runs, run, steps=4, batch=1, val_every=2, save_every=2, warmup=1)
    config.graph = graph_config()
    config.loss.unsup, config.loss.unsup_form, config.loss.target_decay = 0.5, "bgrl", 0.7
    return config


def run(config, draw=lambda index: task(1, seed=index % 2, unlabelled=1), seed=0, **more):
    score = {"validate": lambda net: {"miou": 0.5}, "loss": episode_loss}
    return tiny_train(config, network=made(True, seed), draw=draw, **score, **more)


def test_the_trainer_moves_the_target_once_a_step(tmp_path, monkeypatch):
    seen, follow = [], NodeEncoder.follow

    def spy(target, online, decay):
        seen.append(decay)
        follow(target, online, decay)

    monkeypatch.setattr(NodeEncoder, "follow", spy)
    config = bgrl_config(tmp_path, "moves")
    trainer = run(config)
    assert seen == [0.0, *(target_decay(step, config) for step in range(4))]  # the first makes the copy
    start = made(True).target.enter.weight
    now = trainer.network.target.enter.weight
    assert not torch.equal(now, start)
    assert (now - start).norm().item() < (trainer.network.enter.weight - start).norm().item()
    assert all(p.grad is None for p in trainer.network.target.parameters())


def test_a_resumed_run_is_equal_to_the_bit(tmp_path):
    run(bgrl_config(tmp_path, "whole"))
    config = bgrl_config(tmp_path, "crashed")

    def unplugged(index):
        if index == 3:
            raise InterruptedError("pulled the plug")
        return task(1, seed=index % 2, unlabelled=1)

    with pytest.raises(InterruptedError, match="plug"):
        run(config, unplugged)
    run(config, seed=99, resume=True)
    assert same(outcome(tmp_path / "crashed"), outcome(tmp_path / "whole"))
