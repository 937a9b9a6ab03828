"""BYOL's loss against the formula in NumPy and its closed forms."""

import numpy as np
import pytest
import torch

from pixgraph.losses.bgrl import bootstrap_loss
from pixgraph.losses.instance import CHANCE, instance_loss


def example(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.standard_normal(shape)) for _ in range(4)]


def test_equal_to_numpy():
    q, q2, z, z2 = (t.numpy() / np.linalg.norm(t.numpy(), axis=1, keepdims=True) for t in example(7, 5))
    expected = np.mean(2 - 2 * (q * z2).sum(1)) + np.mean(2 - 2 * (q2 * z).sum(1))
    assert float(instance_loss(*example(7, 5))) == pytest.approx(expected, rel=1e-12)


def test_is_twice_the_loss_of_nodes():
    torch.testing.assert_close(instance_loss(*example(7, 5)), 2 * bootstrap_loss(*example(7, 5)))


def test_maps_are_averaged_over_their_cells():
    maps = example(3, 5, 2, 4)
    torch.testing.assert_close(instance_loss(*maps), instance_loss(*(t.mean((2, 3)) for t in maps)))


def test_agreement_and_collapse_give_zero_unrelated_four_opposites_eight():
    q, q2, _, _ = example(7, 5)
    assert float(instance_loss(q, q2, 3 * q2, 0.1 * q)) == pytest.approx(0, abs=1e-12)
    assert float(instance_loss(*[torch.ones(5, 4)] * 4)) == pytest.approx(0, abs=1e-6)
    assert float(instance_loss(q, q2, -q2, -q)) == pytest.approx(8)
    one, other = torch.eye(4)[:2], torch.eye(4)[2:]
    assert float(instance_loss(one, one, other, other)) == CHANCE


def test_gradcheck():
    q, q2, z, z2 = example(3, 4, 2, 2)
    assert torch.autograd.gradcheck(lambda a, b: instance_loss(a, b, z, z2), [q.requires_grad_(), q2.requires_grad_()])


def test_the_target_gets_no_gradient_and_order_does_not_matter():
    parts = [t.requires_grad_() for t in example(7, 5)]
    loss = instance_loss(*parts)
    loss.backward()
    assert [t.grad is None for t in parts] == [False, False, True, True]
    q, q2, z, z2 = parts
    torch.testing.assert_close(instance_loss(*(t.flip(0) for t in parts)), loss)
    torch.testing.assert_close(instance_loss(q2, q, z2, z), loss)


def test_no_picture_gives_zero_and_gradient_zero():
    parts = [torch.ones(0, 4, requires_grad=True) for _ in range(4)]
    loss = instance_loss(*parts)
    loss.backward()
    assert loss.item() == float(parts[0].grad.abs().sum()) == 0


def test_half_precision_computes_in_float32():
    half = [t.bfloat16().requires_grad_() for t in example(40, 5)]
    loss = instance_loss(*half)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(instance_loss(*(t.detach().float() for t in half))), rel=1e-6)
    loss.backward()
    assert half[0].grad.isfinite().all()


def test_refuses_different_shapes():
    with pytest.raises(ValueError, match=r"instance_loss: got shapes \(3, 4\), \(3, 4\), \(2, 4\), \(3, 4\)"):
        instance_loss(torch.ones(3, 4), torch.ones(3, 4), torch.ones(2, 4), torch.ones(3, 4))
