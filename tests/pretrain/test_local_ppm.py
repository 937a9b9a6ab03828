"""Local pixel propagation against brute force and against the propagation of the whole map."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.errors import ConfigError
from pixgraph.pretrain import local_ppm
from pixgraph.pretrain.local_ppm import LocalPropagation, local_sums
from pixgraph.pretrain.neighbourhood import neighbourhood
from pixgraph.pretrain.ppm import PixelPropagation


def example(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def places(count=11, images=2, pixels=42, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, images, count)), torch.from_numpy(rng.integers(0, pixels, count))


def around(i, j, h, w, form, reach):
    """Neighbours by their definition."""
    if form == "cell":
        return [(a, b) for a in range(h) for b in range(w) if (a // reach, b // reach) == (i // reach, j // reach)]
    half = reach // 2
    return [(a, b) for a in range(h) for b in range(w) if abs(a - i) <= half and abs(b - j) <= half]


@pytest.mark.parametrize("form", ["cell", "window"])
@pytest.mark.parametrize("reach", [1, 2, 3, 4, 100])
def test_neighbourhood_equal_to_its_definition(form, reach):
    index, valid = neighbourhood(torch.arange(42), (6, 7), form, reach)
    for pixel in range(42):
        expected = [a * 7 + b for a, b in around(pixel // 7, pixel % 7, 6, 7, form, reach)]
        assert index[pixel][valid[pixel]].tolist() == expected
    assert index.min() >= 0
    assert index.max() < 42


@pytest.mark.parametrize("form", ["cell", "window"])
@pytest.mark.parametrize(("gamma", "clamp"), [(2, 0), (1.5, 0.1), (0.5, 0)])
def test_equal_to_brute_force(form, gamma, clamp):
    module = LocalPropagation(5, 1, gamma, clamp, form, 3).double()
    x, (image, pixel) = example(2, 5, 6, 7), places()
    out = module(x, image, pixel)
    values = F.normalize(module.transform(x), dim=1)
    for p, (b, at) in enumerate(zip(image.tolist(), pixel.tolist(), strict=True)):
        i, j = divmod(at, 7)
        expected = 0
        for a, c in around(i, j, 6, 7, form, 3):
            cos = F.cosine_similarity(x[b, :, i, j], x[b, :, a, c], dim=0).clamp_min(clamp)
            expected = expected + (cos + (1e-6 if gamma < 1 else 0)) ** gamma * values[b, :, a, c]
        torch.testing.assert_close(out[p], expected)


@pytest.mark.parametrize(("form", "reach"), [("cell", 7), ("cell", 16), ("window", 13), ("window", 64), ("map", 1)])
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_reach_of_the_whole_map_is_the_global_propagation(form, reach, layers, normalise):
    whole = PixelPropagation(5, layers, normalise_values=normalise).double()
    local = LocalPropagation(5, layers, form=form, reach=reach, normalise_values=normalise).double()
    local.load_state_dict(whole.state_dict())
    grads = []
    image, pixel = places()
    for module in (whole, local):
        x = example(2, 5, 6, 7).requires_grad_()
        out = module(x).flatten(2)[image, :, pixel] if module is whole else module(x, image, pixel)
        (out * example(*out.shape, seed=3)).sum().backward()
        grads.append([out.detach(), x.grad, *(p.grad for p in module.parameters())])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(other, one)


@pytest.mark.parametrize("form", ["cell", "window", "map"])
def test_gradcheck(form):
    module = LocalPropagation(3, 1, form=form, reach=2).double()
    image, pixel = places(4, 2, 12)
    x = example(2, 3, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module(x, image, pixel), [x])


@pytest.mark.parametrize(("gamma", "clamp"), [(2.0, 0.0), (0.5, 0.0), (1.5, 0.2)])
def test_gradcheck_of_the_sums(gamma, clamp):
    unit, v = F.normalize(example(9, 4), dim=1).requires_grad_(), example(9, 3, seed=1).requires_grad_()
    rng = np.random.default_rng(0)
    centre, near = torch.from_numpy(rng.integers(0, 9, 5)), torch.from_numpy(rng.integers(0, 9, (5, 3)))
    valid = torch.from_numpy(rng.random((5, 3)) < 0.7)
    assert torch.autograd.gradcheck(lambda u, v: local_sums(u, v, centre, near, valid, gamma, clamp), [unit, v])


def test_blocks_give_the_same(monkeypatch):
    results = []
    for block in (2**22, 5 * 9 * 2):  # all, and two pixels at a time
        monkeypatch.setattr(local_ppm, "BLOCK", block)
        module = LocalPropagation(5, 0, reach=3).double()
        x = example(2, 5, 6, 7).requires_grad_()
        out = module(x, *places())
        out.square().sum().backward()
        results.append([out.detach(), x.grad])
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("form", ["cell", "window", "map"])
def test_order_of_the_pixels_does_not_matter_and_pixels_may_repeat(form):
    module, x = LocalPropagation(5, form=form, reach=3).double(), example(2, 5, 6, 7)
    image, pixel = places()
    out = module(x, image, pixel)
    torch.testing.assert_close(module(x, image.flip(0), pixel.flip(0)), out.flip(0))
    torch.testing.assert_close(module(x, image[[3, 3]], pixel[[3, 3]]), out[[3, 3]])


@pytest.mark.parametrize("form", ["cell", "window", "map"])
def test_no_pixel_gives_nothing_and_gradient_zero(form):
    module, x = LocalPropagation(5, form=form), torch.rand(2, 5, 6, 7, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    out = module(x, none, none)
    assert out.shape == (0, 5)
    out.sum().backward()
    assert x.grad.abs().sum() == sum(p.grad.abs().sum() for p in module.parameters()) == 0


@pytest.mark.parametrize("form", ["cell", "map"])
def test_half_precision_is_summed_in_float32(form):
    module, x = LocalPropagation(8, 0, form=form, reach=4), example(2, 8, 6, 7).bfloat16().requires_grad_()
    out = module(x, *places())
    out.sum().backward()
    assert out.dtype == torch.float32
    assert x.grad.isfinite().all()
    torch.testing.assert_close(out, module(x.detach().float(), *places()), rtol=0.02, atol=0.05)


def test_autocast_gives_gradients():
    module, x = LocalPropagation(8, 1, reach=4), torch.rand(2, 8, 6, 7, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = module(x, *places())
    out.sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_refuses_forms_that_are_none():
    with pytest.raises(ConfigError, match=r"propagation is 'star'; expected one of cell, window, map"):
        LocalPropagation(4, form="star")
    with pytest.raises(ConfigError, match=r"'cell' of 0 pixels; expected cell or window of at least 1"):
        neighbourhood(torch.zeros(1, dtype=torch.int64), (4, 4), "cell", 0)
