"""Unsupervised node contrast against the formula in NumPy and its closed forms."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pixgraph.losses.infonce import infonce_chance, node_infonce


def example(n=7, seed=0):
    rng = np.random.default_rng(seed)
    return [F.normalize(torch.from_numpy(rng.standard_normal((n, 5))), dim=1) for _ in range(2)]


def oracle(first, second, t):
    """Equation 1 of the paper, node by node."""

    def one(u, v, i):
        top = math.exp(u[i] @ v[i] / t)
        rest = sum(math.exp(u[i] @ v[k] / t) + math.exp(u[i] @ u[k] / t) for k in range(len(u)) if k != i)
        return -math.log(top / (top + rest))

    u, v = first.detach().numpy(), second.detach().numpy()
    return sum(one(u, v, i) + one(v, u, i) for i in range(len(u))) / 2 / len(u)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_equal_to_numpy(temperature):
    views = example()
    assert float(node_infonce(*views, temperature)) == pytest.approx(oracle(*views, temperature), rel=1e-9)


@pytest.mark.parametrize("n", [2, 5, 50])
def test_equal_embeddings_give_ln_of_2n_less_1(n):
    z = F.normalize(torch.ones(n, 4), dim=1)
    assert float(node_infonce(z, z)) == pytest.approx(math.log(2 * n - 1), abs=1e-5)
    assert infonce_chance(n) == pytest.approx(math.log(2 * n - 1))


def test_distinct_nodes_that_agree_between_the_views_give_nearly_zero():
    assert float(node_infonce(torch.eye(6), torch.eye(6), 0.01)) == pytest.approx(0, abs=1e-5)


def test_gradcheck():
    views = [v.requires_grad_() for v in example()]
    assert torch.autograd.gradcheck(lambda u, v: node_infonce(u, v, 0.3), views)


def test_order_of_nodes_and_of_views_does_not_matter():
    u, v = example()
    expected = node_infonce(u, v)
    order = torch.randperm(len(u), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(node_infonce(u[order], v[order]), expected)
    torch.testing.assert_close(node_infonce(v, u), expected)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_nodes_give_zero_and_gradient_zero(n):
    views = [torch.ones(n, 4, requires_grad=True) for _ in range(2)]
    loss = node_infonce(*views)
    loss.backward()
    assert loss.item() == sum(float(v.grad.abs().sum()) for v in views) == 0


def test_half_precision_computes_in_float32():
    half = [v.bfloat16().requires_grad_() for v in example(40)]
    loss = node_infonce(*half)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(float(node_infonce(*(h.detach().float() for h in half))), rel=1e-6)
    loss.backward()
    assert all(h.grad.isfinite().all() for h in half)


@pytest.mark.parametrize("chunk", [1, 3, 7, 8, 100])
def test_chunks_give_the_same_value_and_gradient(chunk):
    results = []
    for size in (None, chunk):
        views = [v.requires_grad_() for v in example(8)]
        loss = node_infonce(*views, 0.2, size)
        loss.backward()
        results.append([loss.detach(), *(v.grad for v in views)])
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(pieces, whole, rtol=1e-13, atol=1e-15)


def test_gradcheck_in_chunks():
    views = [v.requires_grad_() for v in example()]
    assert torch.autograd.gradcheck(lambda u, v: node_infonce(u, v, 0.3, 3), views)


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation makes, forward or backward."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.elements = max(self.elements, made.numel())
        return made


def test_chunks_make_no_tensor_of_all_pairs_and_keep_none_for_the_gradient():
    kept = {}  # elements by storage: the views themselves are kept once, however many chunks read them

    def keep(x):
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // x.element_size()
        return x

    views = [v.requires_grad_() for v in example(60)]
    for chunk, largest in ((None, 60 * 120), (4, 4 * 120)):
        kept.clear()
        with Largest() as seen, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            loss = node_infonce(*views, 0.2, chunk)
            saved = sum(kept.values())
            loss.backward()
        assert seen.elements == largest
        assert (saved < 60 * 30) == (chunk is not None)


@pytest.mark.parametrize("chunk", [0, -1])
def test_refuses_empty_chunks(chunk):
    with pytest.raises(ValueError, match=rf"got chunk {chunk}, expected at least 1, or None"):
        node_infonce(*example(), chunk=chunk)


def test_refuses_views_of_different_shapes():
    with pytest.raises(ValueError, match=r"got views \(3, 4\) and \(2, 4\), expected the same shape"):
        node_infonce(torch.ones(3, 4), torch.ones(2, 4))
