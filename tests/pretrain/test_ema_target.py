"""The target: closed form of its average, and what becomes of its batch norms."""

import pytest
import torch
from torch import nn

from pixgraph.pretrain.target import Target


def student():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_after_n_steps_towards_a_constant():
    network = student()
    target = Target(network)
    start = [p.clone() for p in target.network.parameters()]
    with torch.no_grad():
        for p in network.parameters():
            p.add_(1.5)
    for _ in range(7):
        target.follow(network, 0.9)
    for own, before, now in zip(target.network.parameters(), start, network.parameters(), strict=True):
        torch.testing.assert_close(own, now + 0.9**7 * (before - now))


def test_after_n_steps_of_a_moving_student():
    """t_n = m^n t_0 + (1 - m) sum_k m^(n-k) s_k."""
    network, m, n = nn.Linear(1, 1, bias=False), 0.8, 6
    target = Target(network)
    expected = m**n * network.weight.item()
    for k in range(1, n + 1):
        nn.init.constant_(network.weight, float(k * k))
        target.follow(network, m)
        expected += (1 - m) * m ** (n - k) * k * k
    assert target.network.weight.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("decay", "copied"), [(0.0, True), (1.0, False)])
def test_limits_of_the_decay(decay, copied):
    network = nn.Linear(2, 2)
    target = Target(network)
    nn.init.constant_(network.weight, 3.0)
    target.follow(network, decay)
    assert torch.equal(target.network.weight, network.weight) == copied


def test_buffers_are_those_of_its_own_batches():
    """In training mode the batch norm takes its batch's statistics and keeps running ones; `follow` leaves them."""
    network = student()
    target = Target(network).train()
    own, other = torch.rand(4, 3, 5, 5), 10 * torch.rand(4, 3, 5, 5)
    network(other)
    mapped = target.network[0](own)
    torch.testing.assert_close(target(own), nn.functional.batch_norm(mapped, None, None, training=True))
    target.follow(network, 0.5)
    mean = target.network[1].running_mean
    torch.testing.assert_close(mean, 0.1 * mapped.mean((0, 2, 3)))  # the norm's momentum
    assert not torch.allclose(mean, network[1].running_mean)


def test_no_gradient_reaches_the_target():
    network = student()
    target = Target(network)
    assert not any(p.requires_grad for p in target.parameters())
    assert not target(torch.rand(2, 3, 4, 4)).requires_grad
    assert all(p.requires_grad for p in network.parameters())


def test_is_a_copy():
    network = student()
    target = Target(network)
    x = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(target(x), network(x))
    assert {id(p) for p in target.parameters()}.isdisjoint(id(p) for p in network.parameters())


def test_refuses_a_decay_out_of_range():
    with pytest.raises(ValueError, match=r"got decay 1.1, expected 0..1"):
        Target(student()).follow(student(), 1.1)
