"""The network of the edges, computed in pieces, against the plain one: values, gradients, types, what it keeps."""

import pytest
import torch
from torch import nn

from pixgraph.models import edge_bias as module
from pixgraph.models.edge_bias import edge_bias


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).to(dtype)


def features(edges, dtype=torch.float64):
    return torch.randn(3, edges, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(module, "EDGE_PIECE", 4)


@pytest.mark.parametrize("edges", [0, 1, 4, 11])
def test_values_and_gradients_equal_the_plain_network(edges):
    net, x = network(), features(edges).requires_grad_()
    inputs = (x, *net.parameters())
    out, expected = edge_bias(net[0], net[2], x), net(x.T).T
    torch.testing.assert_close(out, expected)
    weight = torch.randn(2, edges, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    got = torch.autograd.grad((out * weight).sum(), inputs)
    for a, b in zip(got, torch.autograd.grad((expected * weight).sum(), inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_features_without_gradient_get_none():
    net, x = network(), features(6)
    edge_bias(net[0], net[2], x).sum().backward()
    assert x.grad is None
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_keeps_nothing_of_the_hidden_layer():
    net, kept = network(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        edge_bias(net[0], net[2], features(100))
    assert max(kept) == 3 * 100


def test_autocast_leaves_the_type_of_the_weights():
    net, x = network(torch.float32), features(9, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = edge_bias(net[0], net[2], x.bfloat16())
        out.sum().backward()
    assert out.dtype == torch.float32
    assert torch.equal(out, edge_bias(net[0], net[2], x.bfloat16().float()))
    assert all(p.grad.isfinite().all() for p in net.parameters())
