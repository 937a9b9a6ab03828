"""What shows a collapse, on maps whose spread and rank are known."""

import numpy as np
import pytest
import torch

from pixgraph.losses.term import embedding_std
from pixgraph.pretrain.monitors import collapse_monitors, effective_rank, unit_sample


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float()


def test_collapse_shows():
    found = collapse_monitors(noise(1, 16, 1, 1).expand(4, 16, 5, 5))
    assert float(found["embedding_std"]) == pytest.approx(0, abs=1e-6)
    assert float(found["embedding_rank"]) == 0


def test_directions_everywhere_are_healthy():
    found = collapse_monitors(noise(8, 16, 8, 8))
    assert float(found["embedding_std"]) == pytest.approx(16**-0.5, rel=0.02)
    assert float(found["embedding_std_healthy"]) == pytest.approx(0.25)
    assert float(found["embedding_rank"]) == pytest.approx(16, rel=0.05)


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("n", [2000, 6])
def test_rank_of_vectors_in_a_subspace(k, n):
    x = noise(n, k) @ torch.linalg.qr(noise(20, k, seed=1))[0].T
    rank = float(effective_rank(x))
    assert rank == pytest.approx(k, rel=0.02) if n > 1000 else rank <= min(k, n - 1) + 1e-4


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_rank_is_that_of_the_eigenvalues(scale):
    x = scale * noise(30, 7) * torch.arange(1, 8)
    values = torch.linalg.eigvalsh(torch.cov(x.double().T))
    assert float(effective_rank(x)) == pytest.approx(float(values.sum() ** 2 / (values**2).sum()), rel=1e-4)


def test_std_is_that_of_the_other_losses():
    x = noise(3, 8, 4, 4)
    expected = embedding_std(unit_sample(x))
    assert float(collapse_monitors(x)["embedding_std"]) == pytest.approx(expected, rel=1e-6)


def test_sample_takes_cells_evenly_from_all_pictures():
    place = torch.arange(4 * 9).reshape(4, 1, 3, 3).float() + 1
    maps = torch.cat([place, torch.ones(4, 1, 3, 3)], 1)
    unit = unit_sample(maps, 12)
    assert (unit[:, 0] / unit[:, 1] - 1).round().int().tolist() == list(range(0, 36, 3))
    assert len(unit_sample(maps)) == 36


def test_half_precision_and_no_gradient():
    found = collapse_monitors(noise(2, 8, 4, 4).bfloat16().requires_grad_())
    assert not any(value.requires_grad for value in found.values())
    assert all(value.dtype == torch.float32 for value in found.values())


def test_an_empty_batch_gives_zeros():
    found = collapse_monitors(torch.zeros(0, 4, 3, 3))
    assert float(found["embedding_std"]) == float(found["embedding_rank"]) == 0
