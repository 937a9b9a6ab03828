"""InfoNCE with sampled negatives against the plain computation, in any number of blocks."""

import math

import pytest
import torch
import torch.nn.functional as F

from pixgraph.losses import sampled_infonce as module
from pixgraph.losses.pixel_vectors import vector_rows, vectors_at
from pixgraph.losses.sampled_infonce import Sums, block_sums, gathered_sums, sampled_infonce


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def example(q=5, k=7, m=6, d=4):
    made = rng()
    vectors, positives, keys = (torch.randn(n, d, generator=made, dtype=torch.float64) for n in (q, q, m))
    return vectors, positives, keys, torch.randint(m, (q, k), generator=made)


def plain(vectors, positives, keys, index, temperature):
    right, wrong = F.cosine_similarity(vectors, positives), F.cosine_similarity(vectors[:, None], keys[index], dim=2)
    return F.cross_entropy(
        torch.cat([right[:, None], wrong], 1) / temperature,
        torch.zeros(len(vectors), dtype=torch.int64),
        reduction="none",
    )


def plain_sums(vectors, offset, keys, index, temperature):
    unit = F.normalize(keys, dim=1)[index]  # (Q, K, D)
    weight = (((vectors[:, None] * unit).sum(2) - offset[:, None]) / temperature).exp()
    return Sums(weight.sum(1), (weight[:, :, None] * unit).sum(1))


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("keys", [1, 7, 8, 40, 5000])
@pytest.mark.parametrize(
    ("form", "limit", "size"),
    [
        *[(block_sums, "CACHE", size) for size in (1, 4 * 40, 2**20)],
        *[(gathered_sums, "BLOCK", size) for size in (1, 2 * 7 * 4, 2**24)],
    ],
)
def test_blocks_give_the_sums(monkeypatch, form, limit, size, keys):
    monkeypatch.setattr(module, limit, size)
    vectors, _, keys, index = example(m=keys)  # seven are drawn, the same one twice where they are few
    index[0], index[1] = 0, len(keys) - 1  # all of a vector in the first block, and in the last
    vectors, offset = F.normalize(vectors, dim=1), torch.linspace(-1, 1, 5, dtype=torch.float64)
    expected = plain_sums(vectors, offset, keys, index, 0.3)
    for found, sums in zip(form(vectors, offset, keys, index, 0.3), expected, strict=True):
        torch.testing.assert_close(found, sums)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("keys", [6, 20])
def test_values_and_gradient(keys):
    *tensors, index = example(m=keys)
    weight = torch.randn(5, generator=rng(1), dtype=torch.float64)
    found = []
    for form in (sampled_infonce, plain):
        x = tensors[0].clone().requires_grad_()
        value = form(x, *tensors[1:], index, 0.2)
        (value * weight).sum().backward()
        found.append((value.detach(), x.grad))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("keys", [6, 20])
def test_gradcheck(keys):
    vectors, positives, keys, index = example(m=keys)
    assert torch.autograd.gradcheck(
        lambda v: sampled_infonce(v, positives, keys, index, 0.5), [vectors.requires_grad_()]
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_map_is_its_pixels(monkeypatch, layout):
    monkeypatch.setattr(module, "CACHE", 4 * 8)
    vectors, positives, _, index = example(m=30)
    maps = torch.randn(2, 4, 3, 5, generator=rng(2), dtype=torch.float64).contiguous(memory_format=layout)
    rows = maps.permute(0, 2, 3, 1).reshape(30, 4)
    torch.testing.assert_close(torch.cat(vector_rows(maps)), rows)
    torch.testing.assert_close(vectors_at(maps, index), rows[index])
    expected = sampled_infonce(vectors, positives, rows, index, 0.5)
    torch.testing.assert_close(sampled_infonce(vectors, positives, maps, index, 0.5), expected)


def test_all_equal_gives_the_logarithm_of_the_number():
    index = example()[3]
    same = torch.ones(30, 4, dtype=torch.float64)
    found = sampled_infonce(same[:5], same[:5], same, index, 0.1)
    torch.testing.assert_close(found, torch.full_like(found, math.log(8)))


def test_only_the_vectors_get_a_gradient():
    tensors = [t.requires_grad_() for t in example()[:3]]
    sampled_infonce(*tensors, example()[3], 0.5).sum().backward()
    assert [t.grad is None for t in tensors] == [False, True, True]


def test_a_key_of_zeros_has_cosine_zero():
    vectors, positives, keys, index = example()
    keys[2] = 0
    found = sampled_infonce(vectors, positives, keys, torch.full_like(index, 2), 0.5)
    torch.testing.assert_close(found, (7 * (-2 * F.cosine_similarity(vectors, positives)).exp()).log1p())


def test_opposite_vectors_at_a_tiny_temperature_stay_finite():
    vectors = torch.eye(4)[:1].requires_grad_()
    loss = sampled_infonce(vectors, -vectors.detach(), vectors.detach().repeat(9, 1), torch.arange(8)[None], 0.001)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert vectors.grad.isfinite().all()
    assert loss.item() == pytest.approx(module.LARGEST + math.log(8))


@pytest.mark.parametrize("shape", [(0, 7), (5, 0)])
def test_no_queries_or_no_keys(shape):
    vectors, positives, keys, index = example()
    x = vectors[: shape[0]].requires_grad_()
    found = sampled_infonce(x, positives[: shape[0]], keys, index[: shape[0], : shape[1]], 0.5)
    found.sum().backward()
    assert found.shape == shape[:1]
    assert found.sum() == 0
    assert x.grad.abs().sum() == 0
