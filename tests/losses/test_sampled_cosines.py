"""Cosines with sampled keys against the plain computation, in any number of blocks."""

import pytest
import torch
import torch.nn.functional as F

from pixgraph.losses import sampled_cosines as module
from pixgraph.losses.sampled_cosines import KeyBlocks, gathered_products, sampled_cosines


def example(q=5, k=7, m=6, d=4):
    made = torch.Generator().manual_seed(0)
    vectors, keys = (torch.randn(n, d, generator=made, dtype=torch.float64) for n in (q, m))
    return vectors, keys, torch.randint(m, (q, k), generator=made)


@pytest.mark.parametrize("keys", [1, 4, 7, 8, 40])
@pytest.mark.parametrize("block", [1, 2 * 7 * 4, 2**24])
def test_gathered_keys_give_the_products(monkeypatch, block, keys):
    monkeypatch.setattr(module, "BLOCK", block)
    vectors, keys, index = example(m=keys)  # seven are drawn, the same one twice where they are few
    torch.testing.assert_close(gathered_products(vectors, keys, index), (vectors[:, None] * keys[index]).sum(2))


@pytest.mark.parametrize("keys", [8, 40, 5000])
@pytest.mark.parametrize("cache", [1, 4 * 40, 2**20])
def test_blocks_of_keys_give_products_and_sums(monkeypatch, cache, keys):
    monkeypatch.setattr(module, "CACHE", cache)
    vectors, keys, index = example(m=keys)
    index[0], index[1] = 0, len(keys) - 1  # all of a vector in the first block, and in the last
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    blocks = KeyBlocks(index, *keys.shape)
    assert [int(block.ends[-1]) for block in blocks.blocks] == [b.pairs.stop - b.pairs.start for b in blocks.blocks]
    products = blocks.products(vectors, keys).view(index.shape)
    torch.testing.assert_close(products, (vectors[:, None] * keys[index]).sum(2))
    torch.testing.assert_close(blocks.sums(weight.flatten(), keys), (weight[:, :, None] * keys[index]).sum(1))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("keys", [6, 20])
def test_values_and_gradient(keys):
    vectors, keys, index = example(m=keys)
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for form in (sampled_cosines, lambda v, k, i: F.cosine_similarity(v[:, None], k[i], dim=2)):
        x = vectors.clone().requires_grad_()
        value = form(x, keys, index)
        (value * weight).sum().backward()
        found.append((value.detach(), x.grad))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("keys", [6, 20])
def test_gradcheck(keys):
    vectors, keys, index = example(m=keys)
    assert torch.autograd.gradcheck(lambda v: sampled_cosines(v, keys, index), [vectors.requires_grad_()])


def test_keys_get_no_gradient():
    vectors, keys, index = example()
    keys.requires_grad_()
    sampled_cosines(vectors.requires_grad_(), keys, index).sum().backward()
    assert keys.grad is None


def test_a_key_of_zeros_gives_zero():
    vectors, keys, index = example()
    keys[2] = 0
    found = sampled_cosines(vectors, keys, index)
    assert (found[index == 2] == 0).all()
    assert found.isfinite().all()


@pytest.mark.parametrize("shape", [(0, 7), (5, 0)])
def test_no_queries_or_no_keys(shape):
    vectors, keys, index = example()
    x = vectors[: shape[0]].requires_grad_()
    found = sampled_cosines(x, keys, index[: shape[0], : shape[1]])
    found.sum().backward()
    assert found.shape == shape
    assert x.grad.abs().sum() == 0
