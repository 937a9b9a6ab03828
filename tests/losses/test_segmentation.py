"""Binary cross-entropy, soft Dice and their targets, against NumPy and closed forms."""

import math

import numpy as np
import pytest
import torch

from pixgraph.losses.segmentation import binary_cross_entropy, class_targets, soft_dice


def example(n_way=3, dtype=torch.float64, seed=0):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.standard_normal((n_way, 4, 5)) * 3).to(dtype)
    target = torch.from_numpy(rng.random((n_way, 4, 5))).to(dtype)
    weight = torch.from_numpy(rng.random((4, 5)) * (rng.random((4, 5)) > 0.3)).to(dtype)
    return logits, target, weight


def bce_oracle(logits, target, weight):
    x, t, w = (a.numpy() for a in (logits, target, weight))
    p = 1 / (1 + np.exp(-x))
    total = 0.0
    for n in range(len(x)):
        total += (w * -(t[n] * np.log(p[n]) + (1 - t[n]) * np.log(1 - p[n]))).sum()
    return total / len(x) / w.sum()


def dice_oracle(logits, target, weight, smooth):
    x, t, w = (a.numpy() for a in (logits, target, weight))
    p = 1 / (1 + np.exp(-x))
    each = [
        1 - (2 * (w * p[n] * t[n]).sum() + smooth) / ((w * p[n]).sum() + (w * t[n]).sum() + smooth)
        for n in range(len(x))
    ]
    return float(np.mean(each))


@pytest.mark.parametrize("n_way", [1, 3])
def test_equal_to_numpy(n_way):
    parts = example(n_way)
    assert float(binary_cross_entropy(*parts)) == pytest.approx(bce_oracle(*parts), abs=1e-12)
    assert float(soft_dice(*parts, smooth=0.5)) == pytest.approx(dice_oracle(*parts, 0.5), abs=1e-12)


def test_bce_of_zero_logits_is_ln_2_whatever_the_truth():
    _, target, weight = example()
    assert float(binary_cross_entropy(torch.zeros_like(target), target, weight)) == pytest.approx(math.log(2))


def test_dice_of_perfect_and_opposite_answers():
    truth = torch.zeros(2, 100, 100)
    truth[0, :50] = 1
    truth[1, 50:] = 1
    certain = (2 * truth - 1) * 1e4
    ones = torch.ones(100, 100)
    assert float(soft_dice(certain, truth, ones)) == pytest.approx(0, abs=1e-6)
    assert float(soft_dice(-certain, truth, ones)) == pytest.approx(1, abs=2e-4)  # 1/10001 because of the smoothing


def test_dice_of_an_absent_class_found_nowhere_is_perfect():
    nothing = torch.zeros(1, 8, 8)
    assert float(soft_dice(nothing - 1e4, nothing, torch.ones(8, 8))) == 0


@pytest.mark.parametrize("loss", [binary_cross_entropy, soft_dice])
def test_gradcheck(loss):
    logits, target, weight = example()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, weight), logits.requires_grad_())


@pytest.mark.parametrize("loss", [binary_cross_entropy, soft_dice])
def test_order_of_classes_and_cells_does_not_matter(loss):
    logits, target, weight = example()
    expected = loss(logits, target, weight)
    torch.testing.assert_close(loss(logits.flip(0), target.flip(0), weight), expected)
    torch.testing.assert_close(loss(logits.flip(2), target.flip(2), weight.flip(1)), expected)


@pytest.mark.parametrize("loss", [binary_cross_entropy, soft_dice])
def test_cells_of_weight_zero_have_no_part(loss):
    logits, target, weight = example()
    changed = torch.where(weight == 0, 50.0, logits).requires_grad_()
    value = loss(changed, torch.where(weight == 0, 1.0, target), weight)
    torch.testing.assert_close(value, loss(logits, target, weight))
    value.backward()
    assert float(changed.grad[:, weight == 0].abs().max()) == 0


@pytest.mark.parametrize("loss", [binary_cross_entropy, soft_dice])
def test_nothing_known_gives_zero_and_gradient_zero(loss):
    logits = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = loss(logits, *class_targets(torch.full((8, 8), 255), 2, (4, 4)))
    value.backward()
    assert value.item() == float(logits.grad.abs().max()) == 0


@pytest.mark.parametrize("loss", [binary_cross_entropy, soft_dice])
def test_half_precision(loss):
    logits, target, weight = example(dtype=torch.float32)
    half = logits.bfloat16().requires_grad_()
    value = loss(half, target, weight)
    assert float(value) == pytest.approx(float(loss(half.detach().float(), target, weight)), rel=1e-2)
    value.backward()
    assert half.grad.isfinite().all()


def test_targets_are_shares_of_the_known_pixels():
    label = torch.from_numpy(np.random.default_rng(1).choice([0, 1, 2, 255], (8, 12)))
    target, weight = class_targets(label, 2, (4, 4))  # cells of 2 x 3 pixels
    for row in range(4):
        for column in range(4):
            cell = label[2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
            known = cell[cell != 255]
            assert float(weight[row, column]) == pytest.approx(len(known) / 6)
            for n in (1, 2):
                share = float((known == n).float().mean()) if len(known) else 0.0
                assert float(target[n - 1, row, column]) == pytest.approx(share, abs=1e-6)


def test_targets_on_a_finer_grid_repeat_the_pixels():
    label = torch.tensor([[0, 1], [255, 2]])
    target, weight = class_targets(label, 2, (4, 4))
    assert torch.equal(target[0], (label == 1).float().repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert torch.equal(weight, (label != 255).float().repeat_interleave(2, 0).repeat_interleave(2, 1))
