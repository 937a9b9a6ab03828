"""PixContrast against the formula in NumPy and its closed forms."""

import math

import numpy as np
import pytest
import torch

from pixgraph.losses import pixcontrast
from pixgraph.losses.pixcontrast import pixcontrast_chance, pixcontrast_loss


def example(b=2, c=5, n=4, m=6, seed=0):
    rng = np.random.default_rng(seed)
    maps = [torch.from_numpy(rng.standard_normal((b, c, cells))) for cells in (n, m, n, m)]
    return *maps, torch.from_numpy(rng.random((b, n, m)) < 0.3)


def oracle(x, x2, k, k2, positive, t):
    """The paper's formula, cell by cell."""
    x, x2, k, k2, positive = (a.detach().numpy() for a in (x, x2, k, k2, positive))

    def way(x, k, positive):
        means = []
        for b in range(len(x)):
            losses = []
            for i in range(x.shape[2]):
                u = x[b, :, i]
                e = [math.exp(u @ v / np.linalg.norm(u) / np.linalg.norm(v) / t) for v in k[b].T]
                if positive[b, i].any():
                    losses.append(-math.log(sum(np.array(e)[positive[b, i]]) / sum(e)))
            means.append(np.mean(losses) if losses else 0.0)
        return np.mean(means)

    return (way(x, k2, positive) + way(x2, k, positive.transpose(0, 2, 1))) / 2


@pytest.mark.parametrize("t", [0.3, 1.0])
def test_equal_to_numpy(t):
    assert float(pixcontrast_loss(*example(), t)) == pytest.approx(oracle(*example(), t), rel=1e-9)


def test_equal_vectors_give_the_chance_value():
    *_, positive = example(3)
    equal = [torch.ones(3, 5, cells) for cells in (4, 6, 4, 6)]
    assert float(pixcontrast_loss(*equal, positive)) == pytest.approx(float(pixcontrast_chance(positive)), rel=1e-5)
    diagonal = torch.eye(6, dtype=torch.bool).expand(2, 6, 6)
    assert float(pixcontrast_chance(diagonal)) == pytest.approx(math.log(6))
    two = torch.eye(3, dtype=torch.bool).repeat_interleave(2, 0).repeat_interleave(2, 1)[None]
    assert float(pixcontrast_chance(two)) == pytest.approx(math.log(6 / 2))


def test_distinct_cells_that_agree_give_nearly_the_lower_bound():
    """ln(1 + (n/p) e^(-1/t)) for orthogonal cells."""
    maps = [torch.eye(6)[None] for _ in range(4)]
    loss = pixcontrast_loss(*maps, torch.eye(6, dtype=torch.bool)[None], 0.3)
    assert float(loss) == pytest.approx(math.log(1 + 5 * math.exp(-1 / 0.3)), rel=1e-5)


def test_a_picture_without_pairs_adds_nothing_and_counts():
    *maps, positive = example()
    alone, chance = pixcontrast_loss(*(t[:1] for t in maps), positive[:1]), pixcontrast_chance(positive[:1])
    positive[1] = False
    torch.testing.assert_close(pixcontrast_loss(*maps, positive), alone / 2)
    torch.testing.assert_close(pixcontrast_chance(positive), chance / 2)


def test_gradcheck():
    x, x2, k, k2, positive = example(2, 3)
    positive[0, 1] = False
    parts = [x.requires_grad_(), x2.requires_grad_()]
    assert torch.autograd.gradcheck(lambda a, b: pixcontrast_loss(a, b, k, k2, positive), parts)


def test_the_target_gets_no_gradient():
    *maps, positive = example()
    maps = [t.requires_grad_() for t in maps]
    pixcontrast_loss(*maps, positive).backward()
    assert all(t.grad is not None for t in maps[:2])
    assert all(t.grad is None for t in maps[2:])


def test_order_of_pictures_cells_and_views_does_not_matter():
    x, x2, k, k2, positive = example()
    expected = pixcontrast_loss(x, x2, k, k2, positive)
    torch.testing.assert_close(pixcontrast_loss(*(t.flip(0) for t in (x, x2, k, k2, positive))), expected)
    torch.testing.assert_close(pixcontrast_loss(x.flip(2), x2, k.flip(2), k2, positive.flip(1)), expected)
    torch.testing.assert_close(pixcontrast_loss(x2, x, k2, k, positive.transpose(1, 2)), expected)


def test_no_pair_gives_zero_and_gradient_zero():
    *maps, positive = example()
    maps, none = [t.requires_grad_() for t in maps], torch.zeros_like(positive)
    loss = pixcontrast_loss(*maps, none)
    loss.backward()
    assert loss.item() == sum(float(t.grad.abs().sum()) for t in maps[:2]) == float(pixcontrast_chance(none)) == 0


def test_parts_give_the_same_value_and_gradient(monkeypatch):
    results = []
    for block in (2**24, 2 * 6 * 3):  # three cells at a time one way, two the other
        monkeypatch.setattr(pixcontrast, "BLOCK", block)
        *maps, positive = example(n=7)
        maps = [t.requires_grad_() for t in maps]
        loss = pixcontrast_loss(*maps, positive)
        loss.backward()
        results.append([loss.detach(), maps[0].grad, maps[1].grad])
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_float32(dtype):
    *maps, positive = example()
    half = [t.to(dtype).requires_grad_() for t in maps]
    loss = pixcontrast_loss(*half, positive)
    exact = pixcontrast_loss(*(t.detach().float() for t in half), positive)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(exact), rel=1e-6)
    loss.backward()
    assert half[0].grad.isfinite().all()


def test_autocast_keeps_the_sums_in_float32():
    *maps, positive = (t.float() if t.is_floating_point() else t for t in example(c=16, n=30, m=40))
    with torch.autocast("cpu", torch.bfloat16):
        loss = pixcontrast_loss(*maps, positive)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(pixcontrast_loss(*maps, positive)), rel=5e-3)


def test_refuses_what_does_not_fit():
    x, x2, k, k2, positive = example()
    with pytest.raises(ValueError, match=r"pixcontrast_loss: got .*expected .* pairs \(2, 4, 6\)"):
        pixcontrast_loss(x, x2, k, k2, positive[:1])
