"""Pixel propagation against the formula in NumPy, closed forms, and itself in chunks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pixgraph.errors import ConfigError
from pixgraph.pretrain import ppm
from pixgraph.pretrain.ppm import PixelPropagation, propagate


def example(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def oracle(x, values, gamma, clamp):
    """The sum, cell by cell."""
    out = np.zeros(values.shape)
    for b in range(len(x)):
        f, v = x[b].reshape(x.shape[1], -1).numpy(), values[b].reshape(values.shape[1], -1).numpy()
        for i in range(f.shape[1]):
            total = np.zeros(len(v))
            for j in range(f.shape[1]):
                cos = f[:, i] @ f[:, j] / np.linalg.norm(f[:, i]) / np.linalg.norm(f[:, j])
                total += (max(cos, clamp) + (1e-6 if gamma < 1 else 0)) ** gamma * v[:, j]
            out[b].reshape(len(v), -1)[:, i] = total
    return torch.from_numpy(out)


@pytest.mark.parametrize(("gamma", "clamp"), [(2, 0), (1, 0), (0.5, 0), (2.5, 0.1), (3, -0.3)])
def test_equal_to_numpy(gamma, clamp):
    x, v = example(2, 5, 3, 4), example(2, 3, 3, 4, seed=1)
    torch.testing.assert_close(propagate(x, v, gamma, clamp), oracle(x, v, gamma, clamp))


def test_equal_cells_give_the_sum_of_all_values_orthogonal_ones_their_own():
    v = example(1, 3, 2, 2)
    total = v.sum((2, 3), keepdim=True).expand_as(v)
    torch.testing.assert_close(propagate(torch.ones(1, 5, 2, 2, dtype=torch.float64), v), total)
    torch.testing.assert_close(propagate(torch.eye(4, dtype=torch.float64).reshape(1, 4, 2, 2), v), v)


def test_length_of_the_features_does_not_matter():
    x, v = example(2, 5, 3, 4), example(2, 3, 3, 4, seed=1)
    lengths = example(2, 1, 3, 4, seed=2).abs() + 0.1
    torch.testing.assert_close(propagate(lengths * x, v), propagate(x, v))


def test_moving_the_cells_moves_the_sums():
    x, v = example(1, 5, 3, 4), example(1, 3, 3, 4, seed=1)
    torch.testing.assert_close(propagate(x.flip(2, 3), v.flip(2, 3)), propagate(x, v).flip(2, 3))
    order = torch.from_numpy(np.random.default_rng(3).permutation(12))
    moved = [t.flatten(2)[..., order].reshape(t.shape) for t in (x, v)]
    torch.testing.assert_close(propagate(*moved).flatten(2), propagate(x, v).flatten(2)[..., order])


@pytest.mark.parametrize("chunk", [1, 5, 12, 100])
@pytest.mark.parametrize("gamma", [2, 0.5])
def test_chunks_give_the_same_sums_and_gradients(chunk, gamma):
    results = []
    for size in (None, chunk):
        x, v = example(2, 5, 3, 4).requires_grad_(), example(2, 3, 3, 4, seed=1).requires_grad_()
        out = propagate(x, v, gamma, chunk=size)
        (out * example(*out.shape, seed=2)).sum().backward()
        results.append([out.detach(), x.grad, v.grad])
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize(("gamma", "clamp"), [(2.0, 0.0), (0.5, 0.0), (1.5, 0.2)])
def test_gradcheck(gamma, clamp, chunk):
    parts = [example(1, 4, 2, 3).requires_grad_(), example(1, 2, 2, 3, seed=1).requires_grad_()]
    assert torch.autograd.gradcheck(lambda x, v: propagate(x, v, gamma, clamp, chunk), parts)


def test_gradient_stays_finite_for_gamma_below_one_at_orthogonal_cells():
    x = torch.eye(4, dtype=torch.float64).reshape(1, 4, 2, 2).requires_grad_()
    propagate(x, torch.ones(1, 1, 2, 2, dtype=torch.float64), gamma=0.5).sum().backward()
    assert x.grad.isfinite().all()


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation makes, forward or backward."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.elements = max(self.elements, made.numel())
        return made


@pytest.mark.parametrize(("chunk", "largest"), [(None, 2 * 144**2), (12, 2 * 12 * 144)])
def test_chunks_make_no_tensor_of_all_pairs(chunk, largest):
    x, v = example(2, 4, 12, 12).requires_grad_(), example(2, 4, 12, 12, seed=1).requires_grad_()
    with Largest() as seen:
        propagate(x, v, chunk=chunk).sum().backward()
    assert seen.elements == largest


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    x, v = example(2, 8, 4, 4).to(dtype).requires_grad_(), example(2, 8, 4, 4, seed=1).to(dtype)
    out = propagate(x, v)
    out.sum().backward()
    torch.testing.assert_close(out.float(), propagate(x.detach().float(), v.float()), rtol=0.05, atol=0.1)
    assert out.dtype == dtype
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("normalise", [True, False])
def test_module_propagates_its_transformed_map(normalise):
    module, x = PixelPropagation(5, 1, gamma=1.5, normalise_values=normalise).double(), example(2, 5, 3, 4)
    values = module.transform(x)
    values = values / values.norm(dim=1, keepdim=True) if normalise else values
    torch.testing.assert_close(module(x), propagate(x, values, 1.5))


@pytest.mark.parametrize(("layers", "parameters"), [(0, 0), (1, 5 * 5 + 5), (2, 2 * (5 * 5 + 5) + 2 * 5)])
def test_layers_of_the_transform(layers, parameters):
    module = PixelPropagation(5, layers)
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert module(torch.rand(2, 5, 3, 3)).shape == (2, 5, 3, 3)


def test_large_maps_are_chunked_by_themselves(monkeypatch):
    module, x = PixelPropagation(4), torch.rand(2, 4, 6, 6)
    whole = module(x)
    monkeypatch.setattr(ppm, "BLOCK", 2 * 36 * 5)
    with Largest() as seen:
        torch.testing.assert_close(module(x), whole)
    assert seen.elements == 2 * 36 * 5


def test_propagated_vectors_move_towards_their_like():
    """Two groups of cells with noise: the propagated vectors of a group agree more than the raw ones."""
    centres = torch.eye(8)[[0, 0, 0, 1, 1, 1, 0, 1, 0]].T.reshape(1, 8, 3, 3)
    noisy = centres + 0.2 * example(1, 8, 3, 3).float()
    one = (centres[0, 0].flatten() == 1).nonzero()[:, 0]

    def agreement(x):
        unit = F.normalize(x[0].flatten(1)[:, one], dim=0)
        return (unit.T @ unit).mean()

    assert agreement(PixelPropagation(8, 0)(noisy)) > agreement(noisy) + 0.05


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layers": 3}, r"ppm_layers is 3; expected 0, 1 or 2"),
        ({"gamma": 0}, r"ppm_gamma is 0; expected more than 0"),
        ({"gamma": 1.5, "clamp": -0.1}, r"ppm_clamp is -0.1 and pixel.ppm_gamma 1.5"),
    ],
)
def test_refuses_settings_without_meaning(settings, words):
    with pytest.raises(ConfigError, match=words):
        PixelPropagation(4, **settings)


def test_refuses_maps_of_different_sizes_and_empty_chunks():
    with pytest.raises(ValueError, match=r"got maps \(1, 4, 2, 2\) and \(1, 4, 2, 3\), expected the same B, H, W"):
        propagate(torch.ones(1, 4, 2, 2), torch.ones(1, 4, 2, 3))
    with pytest.raises(ValueError, match=r"got chunk 0, expected at least 1"):
        propagate(torch.ones(1, 4, 2, 2), torch.ones(1, 4, 2, 2), chunk=0)
