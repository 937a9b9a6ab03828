"""PixPro's losses against the formula in NumPy and their closed forms."""

import numpy as np
import pytest
import torch

from pixgraph.losses.pixpro import BEST, CHANCE, PAIR_BEST, pixpro_loss, pixpro_pair_loss


def example(b=2, c=5, n=4, m=6, seed=0):
    rng = np.random.default_rng(seed)
    maps = [torch.from_numpy(rng.standard_normal((b, c, cells))) for cells in (n, m, n, m)]
    return *maps, torch.from_numpy(rng.random((b, n, m)) < 0.3)


def oracle(y, y2, x, x2, positive):
    """The official formula, pair by pair, with its 1e-6 left out."""
    y, y2, x, x2, positive = (t.detach().numpy() for t in (y, y2, x, x2, positive))

    def cos(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    total = 0.0
    for b in range(len(y)):
        pairs = np.argwhere(positive[b])
        for i, j in pairs:
            total -= 2 * (cos(y[b, :, i], x2[b, :, j]) + cos(y2[b, :, j], x[b, :, i])) / len(pairs)
    return total / len(y)


def test_equal_to_numpy():
    assert float(pixpro_loss(*example())) == pytest.approx(oracle(*example()), rel=1e-12)


def test_maps_and_flat_vectors_are_the_same():
    y, y2, x, x2, positive = example(n=6, m=6)
    square = [t.unflatten(2, (2, 3)) for t in (y, y2, x, x2)]
    torch.testing.assert_close(pixpro_loss(*square, positive), pixpro_loss(y, y2, x, x2, positive))


def test_agreement_and_collapse_give_the_optimum_opposites_its_negative():
    *_, positive = example()
    equal = [torch.ones(2, 5, cells) for cells in (4, 6, 4, 6)]
    assert float(pixpro_loss(*equal, positive)) == pytest.approx(BEST)
    assert float(pixpro_loss(*equal[:2], -equal[2], -equal[3], positive)) == pytest.approx(-BEST)
    y, _, x, _, _ = example(n=4, m=4)
    diagonal = torch.eye(4, dtype=torch.bool).expand(2, 4, 4)
    assert float(pixpro_loss(y, x, 3 * x, 0.1 * y, diagonal)) == pytest.approx(BEST)


def test_unrelated_directions_give_the_chance_value():
    one, other = (torch.eye(4)[rows].T.expand(3, 4, 2) for rows in ([0, 1], [2, 3]))
    assert float(pixpro_loss(one, one, other, other, torch.ones(3, 2, 2, dtype=torch.bool))) == CHANCE


def test_a_picture_without_pairs_adds_nothing_and_counts():
    *maps, positive = example()
    alone = pixpro_loss(*(t[:1] for t in maps), positive[:1])
    positive[1] = False
    torch.testing.assert_close(pixpro_loss(*maps, positive), alone / 2)


def test_gradcheck():
    y, y2, x, x2, positive = example(1, 3)
    parts = [y.requires_grad_(), y2.requires_grad_()]
    assert torch.autograd.gradcheck(lambda a, b: pixpro_loss(a, b, x, x2, positive), parts)


def test_the_target_gets_no_gradient():
    *maps, positive = example()
    maps = [t.requires_grad_() for t in maps]
    pixpro_loss(*maps, positive).backward()
    assert all(t.grad is not None for t in maps[:2])
    assert all(t.grad is None for t in maps[2:])


def test_order_of_pictures_cells_and_views_does_not_matter():
    y, y2, x, x2, positive = example()
    expected = pixpro_loss(y, y2, x, x2, positive)
    torch.testing.assert_close(pixpro_loss(*(t.flip(0) for t in (y, y2, x, x2, positive))), expected)
    cells = pixpro_loss(y.flip(2), y2, x.flip(2), x2, positive.flip(1))
    torch.testing.assert_close(cells, expected)
    torch.testing.assert_close(pixpro_loss(y2, y, x2, x, positive.transpose(1, 2)), expected)


def test_no_pair_gives_zero_and_gradient_zero():
    *maps, positive = example()
    maps = [t.requires_grad_() for t in maps]
    loss = pixpro_loss(*maps, torch.zeros_like(positive))
    loss.backward()
    assert loss.item() == sum(float(t.grad.abs().sum()) for t in maps[:2]) == 0


def test_half_precision_computes_in_float32():
    *maps, positive = example()
    half = [t.bfloat16().requires_grad_() for t in maps]
    loss = pixpro_loss(*half, positive)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(pixpro_loss(*(t.detach().float() for t in half), positive)), rel=1e-6)
    loss.backward()
    assert half[0].grad.isfinite().all()


def test_refuses_what_does_not_fit():
    y, y2, x, x2, positive = example()
    with pytest.raises(ValueError, match=r"pixpro_loss: got .*\(2, 6, 4\).*expected .* pairs \(2, 4, 6\)"):
        pixpro_loss(y, y2, x, x2, positive.transpose(1, 2))
    with pytest.raises(ValueError, match=r"expected a target like each view"):
        pixpro_loss(y, y2, x2, x, positive)


def vectors(n=7, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.standard_normal((n, 5))) for _ in range(4)]


def test_drawn_pairs_give_half_the_loss_of_all_pairs():
    """The thesis leaves out the factor 2: on the same pairs its loss is half the official one."""
    y, y2, x, x2, positive = example(1)
    _, i, j = positive.nonzero(as_tuple=True)
    drawn = pixpro_pair_loss(y[0].T[i], y2[0].T[j], x[0].T[i], x2[0].T[j])
    torch.testing.assert_close(drawn, pixpro_loss(y, y2, x, x2, positive) / 2)


def test_drawn_pairs_that_agree_give_the_optimum():
    y, y2, _, _ = vectors()
    assert float(pixpro_pair_loss(y, y2, 3 * y2, 0.1 * y)) == pytest.approx(PAIR_BEST)
    assert float(pixpro_pair_loss(y, y2, -y2, -y)) == pytest.approx(-PAIR_BEST)
    one, other = torch.eye(4)[:2], torch.eye(4)[2:]
    assert float(pixpro_pair_loss(one, one, other, other)) == CHANCE


def test_pairs_that_could_not_be_drawn_count_as_zero():
    parts = vectors()
    torch.testing.assert_close(pixpro_pair_loss(*parts, count=14), pixpro_pair_loss(*parts) / 2)


def test_gradcheck_of_drawn_pairs():
    y, y2, x, x2 = vectors()
    assert torch.autograd.gradcheck(
        lambda a, b: pixpro_pair_loss(a, b, x, x2), [y.requires_grad_(), y2.requires_grad_()]
    )


@pytest.mark.parametrize("count", [None, 300])
def test_no_drawn_pair_gives_zero_and_gradient_zero(count):
    parts = [torch.ones(0, 4, requires_grad=True) for _ in range(4)]
    loss = pixpro_pair_loss(*parts, count)
    loss.backward()
    assert loss.item() == float(parts[0].grad.abs().sum()) == 0


def test_drawn_pairs_of_half_precision_compute_in_float32():
    half = [t.half().requires_grad_() for t in vectors(40)]
    loss = pixpro_pair_loss(*half)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(pixpro_pair_loss(*(t.detach().float() for t in half))), rel=1e-6)
    loss.backward()
    assert half[0].grad.isfinite().all()


def test_refuses_drawn_pairs_of_different_shapes():
    with pytest.raises(ValueError, match=r"got shapes \(3, 4\), \(3, 4\), \(2, 4\), \(3, 4\), expected the same"):
        pixpro_pair_loss(torch.ones(3, 4), torch.ones(3, 4), torch.ones(2, 4), torch.ones(3, 4))
