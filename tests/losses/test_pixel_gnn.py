"""Pixel GNN's supervised contrast: its draws, the formula in NumPy, and its closed forms."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.losses.pixel_gnn import Draws, draw_partners, pixel_gnn_chance, pixel_gnn_contrast


def example(n=12, seed=0):
    rng = np.random.default_rng(seed)
    z = F.normalize(torch.from_numpy(rng.standard_normal((n, 5))), dim=1)
    return z, torch.from_numpy(rng.integers(0, 3, n))


def draws_of(label, seed=0, anchors=6, positives=4, negatives=9):
    return draw_partners(label, np.random.default_rng(seed), anchors, positives, negatives)


def oracle(z, draws, t):
    z = z.detach().numpy()
    total = 0.0
    for a, positive, negative in zip(*(d.tolist() for d in draws), strict=True):
        pulled = sum(math.exp(z[a] @ z[p] / t) for p in positive)
        pushed = sum(math.exp(z[a] @ z[q] / t) for q in negative)
        total -= math.log(pulled / (pulled + pushed)) / len(positive)
    return total


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_equal_to_numpy(temperature):
    z, label = example()
    draws = draws_of(label)
    assert float(pixel_gnn_contrast(z, draws, temperature)) == pytest.approx(oracle(z, draws, temperature), rel=1e-9)


@pytest.mark.parametrize(("anchors", "positives", "negatives"), [(1, 1, 1), (6, 4, 9), (1000, 64, 2048)])
def test_equal_embeddings_give_the_collapse_value(anchors, positives, negatives):
    draws = draws_of(example(40)[1], 0, anchors, positives, negatives)
    collapse = anchors / positives * math.log((positives + negatives) / positives)
    z = F.normalize(torch.ones(40, 4), dim=1)
    assert float(pixel_gnn_contrast(z, draws)) == pytest.approx(collapse, rel=1e-5)
    assert pixel_gnn_chance(draws) == pytest.approx(collapse)


def test_tight_clusters_far_apart_give_zero():
    label = torch.arange(2).repeat_interleave(4)
    assert float(pixel_gnn_contrast(torch.eye(2)[label], draws_of(label), 0.01)) == pytest.approx(0, abs=1e-6)


def test_one_close_positive_is_enough():
    """What sets this form apart from SupCon: the other positives may be anywhere."""
    z = torch.eye(4)[[0, 0, 1, 2, 3]]
    one = torch.tensor([0])
    draws = Draws(one, torch.tensor([[1, 2]]), torch.tensor([[3, 4]]))
    assert float(pixel_gnn_contrast(z, draws, 0.01)) == pytest.approx(0, abs=1e-6)
    alone = Draws(one, torch.tensor([[2, 2]]), torch.tensor([[3, 4]]))
    assert float(pixel_gnn_contrast(z, alone, 0.01)) == pytest.approx(math.log(2) / 2)


def test_draws_obey_the_labels_and_reach_every_partner():
    label = torch.tensor([1, 0, 255, 2, 1, 0, 2, 1, 255, 3])
    draws = draws_of(label, 0, 200, 10, 20)
    reached = {a: (set(), set()) for a in (0, 3, 4, 6, 7)}  # foreground with a partner: 9 is alone in its class
    for a, positive, negative in zip(*(d.tolist() for d in draws), strict=True):
        reached[a][0].update(positive)
        reached[a][1].update(negative)
    known = [i for i in range(10) if label[i] != 255]
    for a, (positive, negative) in reached.items():
        assert positive == {i for i in known if label[i] == label[a] and i != a}
        assert negative == {i for i in known if label[i] != label[a]}


def test_draws_are_even():
    label = torch.tensor([1, 1, 1, 2, 2, 0])
    draws = draws_of(label, 0, 4000, 2, 3)
    share = torch.bincount(draws.anchor) / 4000
    torch.testing.assert_close(share, torch.full((5,), 0.2), atol=0.03, rtol=0)
    of_first = draws.negative[draws.anchor == 0].flatten()
    torch.testing.assert_close(torch.bincount(of_first)[3:] / len(of_first), torch.full((3,), 1 / 3), atol=0.05, rtol=0)


def test_same_seed_same_draws_and_another_seed_others():
    label = example(30)[1]
    first, again, other = (draws_of(label, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.positive, other.positive)


def test_gradcheck():
    z, label = example()
    draws = draws_of(label)
    assert torch.autograd.gradcheck(lambda x: pixel_gnn_contrast(x, draws, 0.3), z.requires_grad_())


def test_order_of_nodes_anchors_and_partners_does_not_matter():
    z, label = example()
    draws = draws_of(label)
    expected = pixel_gnn_contrast(z, draws)
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(0))
    moved = Draws(*(order.argsort()[d].flip(0) for d in draws))
    torch.testing.assert_close(pixel_gnn_contrast(z[order], moved), expected)
    turned = Draws(draws.anchor, draws.positive.flip(1), draws.negative.flip(1))
    torch.testing.assert_close(pixel_gnn_contrast(z, turned), expected)


def test_ignored_nodes_have_no_part():
    z, label = example()
    z, label = torch.cat([z, z[:3]]).requires_grad_(), torch.cat([label, torch.full((3,), 255)])
    pixel_gnn_contrast(z, draws_of(label, 0, 100, 5, 5)).backward()
    assert float(z.grad[-3:].abs().max()) == 0 < float(z.grad.abs().max())


@pytest.mark.parametrize("label", [[], [1], [0, 0, 1], [1, 1], [255, 255], [1, 1, 255], [1, 2, 3]])
def test_no_anchor_gives_zero_and_gradient_zero(label):
    draws = draws_of(torch.tensor(label, dtype=torch.int64))
    z = F.normalize(torch.ones(len(label), 4), dim=1).requires_grad_()
    loss = pixel_gnn_contrast(z, draws)
    loss.backward()
    assert loss.item() == float(z.grad.abs().sum()) == pixel_gnn_chance(draws) == 0


def test_half_precision_computes_in_float32():
    z, label = example(40)
    draws, half = draws_of(label), z.bfloat16().requires_grad_()
    loss = pixel_gnn_contrast(half, draws)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(pixel_gnn_contrast(half.detach().float(), draws)), rel=1e-6)
    loss.backward()
    assert half.grad.isfinite().all()
