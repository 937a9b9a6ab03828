"""A loss beside its chance value, and the spread of embeddings."""

import pytest
import torch
import torch.nn.functional as F

from pixgraph.losses.term import Term, embedding_std, mean_term


def test_value_and_chance_are_weighted_and_averaged_alike():
    first, second = Term(torch.tensor(1.0), 3.0), Term(torch.tensor(2.0), 5.0)
    assert first.weighted(0.5) == (0.5, 1.5)
    assert mean_term([first, second]) == (1.5, 4.0)


@pytest.mark.parametrize("dimensions", [2, 48])
def test_spread_of_random_directions_is_one_over_the_root_of_the_dimensions(dimensions):
    z = F.normalize(torch.randn(20000, dimensions, generator=torch.Generator().manual_seed(0)), dim=1)
    assert embedding_std(z) == pytest.approx(dimensions**-0.5, rel=0.02)


def test_collapsed_or_missing_embeddings_have_no_spread():
    assert embedding_std(F.normalize(torch.ones(10, 4), dim=1)) == pytest.approx(0, abs=1e-7)
    assert embedding_std(torch.ones(0, 4)) == 0


def test_spread_in_half_precision():
    z = F.normalize(torch.randn(500, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert embedding_std(z.bfloat16()) == pytest.approx(embedding_std(z), rel=1e-2)
