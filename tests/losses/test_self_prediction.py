"""Support self-prediction against the formula in NumPy and its closed forms."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.losses.self_prediction import self_prediction, self_prediction_chance


def example(n=10, seed=0):
    rng = np.random.default_rng(seed)
    z = F.normalize(torch.from_numpy(rng.standard_normal((n, 5))), dim=1)
    return z, torch.from_numpy(rng.integers(0, 3, n)), torch.from_numpy(rng.integers(0, 2, n))


def oracle(z, label, t, picture):
    z, label = z.detach().numpy(), label.numpy()
    values = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i and label[j] != 255]
        if picture is not None:
            others = [j for j in others if picture[j] != picture[i]]
        right = [j for j in others if label[j] == label[i]]
        if label[i] == 255 or not right:
            continue
        attention = {j: math.exp(z[i] @ z[j] / t) for j in others}
        values.append(-math.log(sum(attention[j] for j in right) / sum(attention.values())))
    return float(np.mean(values))


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("across", [False, True])
def test_equal_to_numpy(temperature, across):
    z, label, picture = example()
    label[2] = 255
    label[4] = 77  # without a partner
    given = picture if across else None
    expected = oracle(z, label, temperature, given)
    assert float(self_prediction(z, label, temperature, given)) == pytest.approx(expected, rel=1e-9)


def test_equal_embeddings_give_the_shares_of_the_labels():
    label = torch.tensor([0] * 6 + [1] * 3 + [2] + [255] * 4)
    closed = (6 * math.log(9 / 5) + 3 * math.log(9 / 2)) / 9  # the only node of class 2 cannot be told
    z = F.normalize(torch.ones(14, 4), dim=1)
    assert float(self_prediction(z, label)) == pytest.approx(closed, rel=1e-6)
    assert self_prediction_chance(label) == pytest.approx(closed, rel=1e-6)


def test_equal_embeddings_across_pictures():
    label, picture = torch.tensor([1, 1, 0, 1, 0, 0]), torch.tensor([0, 0, 0, 1, 1, 1])
    # From picture 1 (one 1, two 0) come p(1) = 1/3 and p(0) = 2/3, from picture 0 the other way round.
    closed = (2 * math.log(3) + math.log(3 / 2) + math.log(3 / 2) + 2 * math.log(3)) / 6
    assert self_prediction_chance(label, picture) == pytest.approx(closed, rel=1e-6)


def test_tight_clusters_give_zero_and_mixed_ones_a_large_loss():
    label = torch.arange(2).repeat_interleave(4)
    assert float(self_prediction(torch.eye(2)[label], label, 0.05)) == pytest.approx(0, abs=1e-6)
    # One node amid the other class, at similarity 1 to its four nodes and 0 to its own three.
    z = torch.eye(2)[[1, 0, 0, 0, 1, 1, 1, 1]]
    first = math.log((3 + 4 * math.exp(10)) / 3)
    others = math.log((2 * math.exp(10) + 1 + 4) / (2 * math.exp(10) + 1))
    rest = math.log((3 * math.exp(10) + 3 + math.exp(10)) / (3 * math.exp(10)))
    assert float(self_prediction(z, label, 0.1)) == pytest.approx((first + 3 * others + 4 * rest) / 8, rel=1e-5)


def test_a_node_does_not_see_itself():
    """Two nodes of a class, opposite each other, amid another class: only by themselves would they be told well."""
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    label = torch.tensor([1, 1, 0, 0])
    value = float(self_prediction(z, label, 0.5))
    one, other = math.log(1 + 2 * math.exp(2)), math.log(1 + 2 * math.exp(-2))
    assert value == pytest.approx((one + other) / 2, rel=1e-6)


def test_gradcheck():
    z, label, picture = example()
    label[0] = 255
    for given in (None, picture):
        assert torch.autograd.gradcheck(
            lambda x, given=given: self_prediction(x, label, 0.3, given), z.detach().requires_grad_()
        )


def test_order_of_nodes_and_names_of_classes_and_pictures_do_not_matter():
    z, label, picture = example()
    expected = self_prediction(z, label, 0.1, picture)
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(self_prediction(z[order], label[order], 0.1, picture[order]), expected)
    torch.testing.assert_close(self_prediction(z, (label + 1) % 3, 0.1, 5 - picture), expected)


def test_ignored_nodes_have_no_part():
    z, label, _ = example()
    more = torch.cat([z, z[:3]]).requires_grad_()
    loss = self_prediction(more, torch.cat([label, torch.full((3,), 255)]))
    torch.testing.assert_close(loss, self_prediction(z, label))
    loss.backward()
    assert float(more.grad[-3:].abs().max()) == 0


@pytest.mark.parametrize("label", [[], [1], [0, 1, 2], [255, 255], [3, 255, 255]])
def test_nothing_to_tell_gives_zero_and_gradient_zero(label):
    z = F.normalize(torch.ones(len(label), 4), dim=1).requires_grad_()
    label = torch.tensor(label, dtype=torch.int64)
    loss = self_prediction(z, label)
    loss.backward()
    assert loss.item() == float(z.grad.abs().sum()) == self_prediction_chance(label) == 0


def test_a_single_picture_tells_nothing_across_pictures():
    z, label, _ = example()
    assert float(self_prediction(z, label, 0.1, torch.zeros_like(label))) == 0


def test_half_precision_computes_in_float32():
    z, label, _ = example(40)
    half = z.bfloat16().requires_grad_()
    loss = self_prediction(half, label)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(self_prediction(half.detach().float(), label)), rel=1e-6)
    loss.backward()
    assert half.grad.isfinite().all()
