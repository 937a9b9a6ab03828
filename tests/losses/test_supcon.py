"""Supervised node contrast against the formula in NumPy and its closed forms."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.losses.supcon import supervised_chance, supervised_contrast


def example(n=9, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    z = F.normalize(torch.from_numpy(rng.standard_normal((n, 5))), dim=1)
    return z, torch.from_numpy(rng.integers(0, classes, n))


def oracle(z, label, t):
    """Equation 2 of the paper, node by node."""
    z, label = z.detach().numpy(), label.numpy()
    values = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i and label[a] != 255]
        positives = [p for p in others if label[p] == label[i]]
        if label[i] == 255 or not positives:
            continue
        total = sum(math.exp(z[i] @ z[a] / t) for a in others)
        values.append(-np.mean([math.log(math.exp(z[i] @ z[p] / t) / total) for p in positives]))
    return float(np.mean(values))


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_equal_to_numpy(temperature):
    z, label = example()
    label[2] = 255
    label[4] = 77  # without a partner
    assert float(supervised_contrast(z, label, temperature)) == pytest.approx(oracle(z, label, temperature), rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 50])
def test_equal_embeddings_give_ln_of_the_number_of_others(n):
    z = F.normalize(torch.ones(n, 4), dim=1)
    label = torch.arange(n) % max(1, n // 4)
    assert float(supervised_contrast(z, label)) == pytest.approx(math.log(n - 1), abs=1e-5)
    assert supervised_chance(torch.cat([label, torch.full((3,), 255)])) == pytest.approx(math.log(n - 1))


def test_tight_clusters_far_apart_give_ln_of_the_number_of_positives():
    z = torch.eye(2).repeat_interleave(4, 0)
    loss = supervised_contrast(z, torch.arange(2).repeat_interleave(4), 0.01)
    assert float(loss) == pytest.approx(math.log(3), abs=1e-5)


def test_gradcheck():
    z, label = example()
    label[0] = 255
    assert torch.autograd.gradcheck(lambda x: supervised_contrast(x, label, 0.3), z.requires_grad_())


def test_order_of_nodes_and_names_of_classes_do_not_matter():
    z, label = example()
    expected = supervised_contrast(z, label)
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(supervised_contrast(z[order], label[order]), expected)
    torch.testing.assert_close(supervised_contrast(z, (label + 1) % 3), expected)


def test_ignored_nodes_have_no_part():
    z, label = example()
    more = torch.cat([z, z[:3]]).requires_grad_()
    loss = supervised_contrast(more, torch.cat([label, torch.full((3,), 255)]))
    torch.testing.assert_close(loss, supervised_contrast(z, label))
    loss.backward()
    assert float(more.grad[-3:].abs().max()) == 0


@pytest.mark.parametrize("label", [[], [1], [0, 1, 2], [255, 255, 255], [3, 255, 255]])
def test_no_pair_gives_zero_and_gradient_zero(label):
    z = F.normalize(torch.ones(len(label), 4), dim=1).requires_grad_()
    loss = supervised_contrast(z, torch.tensor(label, dtype=torch.int64))
    loss.backward()
    assert loss.item() == float(z.grad.abs().sum()) == supervised_chance(torch.tensor(label)) == 0


def test_half_precision_computes_in_float32():
    z, label = example(40)
    half = z.bfloat16().requires_grad_()
    loss = supervised_contrast(half, label)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(supervised_contrast(half.detach().float(), label)), rel=1e-6)
    loss.backward()
    assert half.grad.isfinite().all()
