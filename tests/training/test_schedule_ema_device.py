"""Schedule, moving average, device and process group: closed forms and error messages."""

import math

import pytest
import torch
from torch import nn

from pixgraph.config import TrainConfig
from pixgraph.errors import ConfigError, DependencyError
from pixgraph.pretrain.config import OptimConfig
from pixgraph.training.device import resolve_device
from pixgraph.training.distributed import ProcessGroup, World
from pixgraph.training.ema import WeightAverage
from pixgraph.training.schedule import learning_rate


def test_schedule_closed_form():
    config = TrainConfig(steps=1000, warmup=100, lr=0.2)
    rates = [learning_rate(step, config) for step in range(1000)]
    assert rates[0] == pytest.approx(0.2 / 100)
    assert rates[49] == pytest.approx(0.1)
    assert rates[99] == rates[100] == pytest.approx(0.2)
    assert rates[550] == pytest.approx(0.1)
    assert rates[775] == pytest.approx(0.1 * (1 + math.cos(0.75 * math.pi)))
    assert 0 < rates[-1] < 1e-5
    assert learning_rate(1000, config) == pytest.approx(0, abs=1e-12)
    assert sum(rates[100:]) == pytest.approx(0.1 * 901)  # mean of the cosine is a half, plus half of the first term


def test_the_poly_schedule():
    config = OptimConfig(steps=110, warmup=10, lr=0.2, schedule="poly")
    assert [learning_rate(step, config) for step in (4, 9, 10)] == pytest.approx([0.1, 0.2, 0.2])
    assert learning_rate(60, config) == pytest.approx(0.2 * 0.5**0.9)
    assert learning_rate(109, config) == pytest.approx(0.2 * 0.01**0.9)


@pytest.mark.parametrize(("steps", "warmup"), [(10, 0), (1, 0), (5, 5), (5, 100)])
def test_schedule_of_odd_lengths(steps, warmup):
    config = TrainConfig(steps=steps, warmup=warmup, lr=1.0)
    rates = [learning_rate(step, config) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    if warmup >= steps:
        assert rates[-1] == steps / warmup


def test_average_closed_form():
    network = nn.Linear(1, 1, bias=False).double()
    network.register_buffer("count", torch.zeros(()))
    average = WeightAverage(network, 0.8)
    for step in range(1, 8):
        with torch.no_grad():
            network.weight.fill_(step)
        network.count.fill_(step)
        average.update()
    # w'_n = d^(n-1) w_1 + (1 - d) sum_k d^(n-k) w_k over k = 2 .. n, with w_k = k
    expected = 0.8**6 + 0.2 * sum(0.8 ** (7 - k) * k for k in range(2, 8))
    assert average.network.weight.item() == pytest.approx(expected, rel=1e-12)
    assert average.network.count.item() == 7
    assert not average.network.weight.requires_grad
    again = WeightAverage(nn.Linear(1, 1, bias=False).double(), 0.8)
    again._raw.register_buffer("count", torch.zeros(()))
    again = WeightAverage(again._raw, 0.8)
    again.load_state_dict(average.state_dict())
    assert torch.equal(again.network.weight, average.network.weight)
    assert again.state_dict()["updates"] == 7


def test_resolve_device():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    for wrong in ("gpu", "cuda:", "cuda:x", "CPU", ""):
        with pytest.raises(ConfigError, match=rf"device: got '{wrong}', expected auto, cpu, cuda, cuda:INDEX or mps"):
            resolve_device(wrong)


def test_an_absent_device_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DependencyError, match=r"device: got 'cuda:1', but torch .*; use --device cpu"):
        resolve_device("cuda:1")
    with pytest.raises(DependencyError, match="device: got 'mps', but torch finds no Apple GPU here; use --device cpu"):
        resolve_device("mps")
    assert resolve_device("auto") == torch.device("cpu")


def test_gpus_are_shared_out_by_local_rank(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [resolve_device("auto", rank).index for rank in range(4)] == [0, 1, 0, 1]
    assert resolve_device("cuda:1", 0) == torch.device("cuda", 1)
    with pytest.raises(DependencyError, match="device: got 'cuda:2', but there are only cuda:0 to cuda:1"):
        resolve_device("cuda:2")


def test_a_world_of_one_changes_nothing():
    network = nn.Linear(2, 1)
    network.weight.grad = torch.ones(1, 2)
    with ProcessGroup() as world:
        assert world == World()
        world.sum_gradients(network.parameters())
        world.barrier()
        assert world.gather("x") == ["x"]
        assert list(world.share(range(3))) == [0, 1, 2]
    assert network.bias.grad is None


def test_shares_are_by_position():
    assert [list(World(rank, 3).share(range(10, 17))) for rank in range(3)] == [[10, 13, 16], [11, 14], [12, 15]]


def test_an_incomplete_environment_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for key in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(key, raising=False)
    with (
        pytest.raises(ConfigError, match="WORLD_SIZE is set but RANK, MASTER_ADDR, MASTER_PORT is not; start"),
        ProcessGroup(),
    ):
        pass
