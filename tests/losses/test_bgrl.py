"""The contrast without negatives against the formula in NumPy and its closed forms."""

import numpy as np
import pytest
import torch

from pixgraph.losses.bgrl import CHANCE, bootstrap_loss


def example(n=7, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.standard_normal((n, 5))) for _ in range(4)]


def oracle(*parts):
    q_u, q_v, u, v = (x.detach().numpy() for x in parts)

    def cos(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    return float(np.mean([2 - cos(q_u[i], v[i]) - cos(q_v[i], u[i]) for i in range(len(u))]))


def test_equal_to_numpy():
    assert float(bootstrap_loss(*example())) == pytest.approx(oracle(*example()), rel=1e-12)


def test_agreement_and_collapse_give_zero_opposites_four():
    q_u, q_v, _, _ = example()
    assert float(bootstrap_loss(q_u, q_v, 3 * q_v, 0.1 * q_u)) == pytest.approx(0, abs=1e-12)
    assert float(bootstrap_loss(*[torch.ones(5, 4)] * 4)) == pytest.approx(0, abs=1e-6)
    assert float(bootstrap_loss(q_u, q_v, -q_v, -q_u)) == pytest.approx(4)


def test_unrelated_directions_give_the_chance_value():
    one, other = torch.eye(4)[:2], torch.eye(4)[2:]
    assert float(bootstrap_loss(one, one, other, other)) == CHANCE
    assert float(bootstrap_loss(*example(20000))) == pytest.approx(CHANCE, abs=0.03)


def test_gradcheck():
    q_u, q_v, u, v = example()
    assert torch.autograd.gradcheck(
        lambda a, b: bootstrap_loss(a, b, u, v), [q_u.requires_grad_(), q_v.requires_grad_()]
    )


def test_the_target_gets_no_gradient():
    parts = [x.requires_grad_() for x in example()]
    bootstrap_loss(*parts).backward()
    assert all(x.grad is not None for x in parts[:2])
    assert all(x.grad is None for x in parts[2:])


def test_order_of_nodes_and_of_views_does_not_matter():
    q_u, q_v, u, v = example()
    expected = bootstrap_loss(q_u, q_v, u, v)
    torch.testing.assert_close(bootstrap_loss(*(x.flip(0) for x in (q_u, q_v, u, v))), expected)
    torch.testing.assert_close(bootstrap_loss(q_v, q_u, v, u), expected)


def test_no_node_gives_zero_and_gradient_zero():
    parts = [torch.ones(0, 4, requires_grad=True) for _ in range(4)]
    loss = bootstrap_loss(*parts)
    loss.backward()
    assert loss.item() == float(parts[0].grad.abs().sum()) == 0


def test_half_precision_computes_in_float32():
    half = [x.bfloat16().requires_grad_() for x in example(40)]
    loss = bootstrap_loss(*half)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(bootstrap_loss(*(h.detach().float() for h in half))), rel=1e-6)
    loss.backward()
    assert half[0].grad.isfinite().all()


def test_refuses_different_shapes():
    with pytest.raises(ValueError, match=r"got shapes \(3, 4\), \(3, 4\), \(2, 4\), \(3, 4\), expected the same"):
        bootstrap_loss(torch.ones(3, 4), torch.ones(3, 4), torch.ones(2, 4), torch.ones(3, 4))
