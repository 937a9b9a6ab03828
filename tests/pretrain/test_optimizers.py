import builtins

import pytest
import torch
from torch import nn

from pixgraph.errors import DependencyError
from pixgraph.pretrain.config import OptimConfig
from pixgraph.pretrain.optimizers import build_optimizer, parameter_groups


def network():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    made[2].requires_grad_(False)
    return made


def test_kernels_decay_and_biases_norms_and_frozen_parts_do_not():
    made = network()
    decayed, others = parameter_groups(made, 0.1)
    assert decayed["weight_decay"] == 0.1
    assert [id(p) for p in decayed["params"]] == [id(made[0].weight)]
    assert others["weight_decay"] == 0.0
    assert {id(p) for p in others["params"]} == {id(made[0].bias), id(made[1].weight), id(made[1].bias)}


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_a_step_moves_what_has_a_gradient(name):
    made = network()
    before = [p.clone() for p in made.parameters()]
    optimizer = build_optimizer(made, OptimConfig(optimizer=name, lr=0.1))
    made(torch.randn(2, 3, 4, 4)).square().sum().backward()
    optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, made.parameters(), strict=True)]
    assert moved[0]
    assert moved[-2:] == [False, False]


def test_lars_scales_a_kernel_by_its_norm_over_that_of_its_gradient():
    made = network()
    optimizer = build_optimizer(made, OptimConfig(optimizer="lars", lr=2.0, weight_decay=0.01))
    made(torch.randn(2, 3, 4, 4)).square().sum().backward()
    w, g = made[0].weight.detach().clone(), made[0].weight.grad.clone()
    optimizer.step()
    ratio = 0.001 * w.norm() / (g.norm() + 0.01 * w.norm())  # You et al. 2017, equation 6
    torch.testing.assert_close(made[0].weight.detach(), w - 2.0 * ratio * (g + 0.01 * w), rtol=1e-4, atol=1e-6)


def test_lars_without_timm_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without_timm(name, *args, **kwargs):
        if name.startswith("timm"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_timm)
    with pytest.raises(DependencyError, match=r"lars needs timm: pip install 'pixgraph\[timm\]', or take .*adamw"):
        build_optimizer(network(), OptimConfig(optimizer="lars"))


def test_scaled_parameters_make_groups_of_their_own():
    made = network()
    plain = parameter_groups(made, 0.1, made[1].parameters(), 1.0)
    assert len(plain) == 2
    groups = parameter_groups(made, 0.1, made[1].parameters(), 10.0)
    assert [group.get("lr_scale") for group in groups] == [None, None, 10.0, 10.0]
    assert {id(p) for p in groups[3]["params"]} == {id(p) for p in made[1].parameters()}
    assert sum(len(group["params"]) for group in groups) == sum(len(group["params"]) for group in plain)
    assert len(build_optimizer(made, OptimConfig(), made[1].parameters(), 10.0).param_groups) == 4
