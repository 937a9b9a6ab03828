"""Ridge regression against least squares with further rows, and its symmetries and degenerate supports."""

import numpy as np
import pytest
import torch

from pixgraph.models.discriminant import fit_discriminant, joint_cells, score_levels
from pixgraph.models.levels import unit_cells


def example(cells, channels, n_way=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(cells, channels, generator=rng, dtype=torch.float64)
    share = torch.rand(cells, n_way + 1, generator=rng, dtype=torch.float64).softmax(1)[:, 1:]
    known = torch.rand(cells, generator=rng, dtype=torch.float64)
    known[:2] = 0
    return x, share * known[:, None], known


def oracle(x, y, balance, ridge):
    """Scores by least squares: a row for each cell, one more for each channel that pulls it to zero."""
    root = np.sqrt(balance)[:, None]
    penalty = np.hstack([np.sqrt(ridge) * np.eye(x.shape[1]), np.zeros((x.shape[1], 1))])
    rows = np.vstack([root * np.hstack([x, np.ones((len(x), 1))]), penalty])
    solution = np.linalg.lstsq(rows, np.concatenate([root[:, 0] * y, np.zeros(x.shape[1])]), rcond=None)[0]
    return x @ solution[:-1] + solution[-1] - 0.5


@pytest.mark.parametrize(("cells", "channels"), [(8, 30), (60, 5)])
def test_equal_to_weighted_ridge_regression(cells, channels):
    """With fewer cells than channels, and the other way round."""
    x, weight, known = example(cells, channels)
    for ridge, found in zip((0.1, 2.0), fit_discriminant(x, weight, known, (0.1, 2.0)), strict=True):
        for n in range(2):
            own, rest = weight[:, n], known - weight[:, n]
            y = (own / known.clamp_min(1e-6)).numpy()
            balance = (own / own.sum() + rest / rest.sum()).numpy()
            expected = oracle(x.numpy(), y, balance, ridge)
            np.testing.assert_allclose(found.score(x)[:, n].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("known", [0.0, 1.0])
def test_a_class_that_covers_nothing_or_everything_has_a_constant_score(share, known):
    x, _, _ = example(8, 30)
    known = torch.full((8,), known).double()
    (found,) = fit_discriminant(x, known[:, None] * share, known, [0.1])
    expected = share - 0.5 if known.any() else -0.5
    torch.testing.assert_close(found.score(x), torch.full((8, 1), expected).double())


def test_unknown_cells_have_no_influence():
    x, weight, known = example(9, 4)
    (whole,), (part,) = (fit_discriminant(x[s:], weight[s:], known[s:], [0.1]) for s in (0, 2))
    torch.testing.assert_close(whole.score(x), part.score(x))


def test_order_of_classes_and_cells_does_not_matter():
    x, weight, known = example(9, 20, n_way=3)
    (expected,) = fit_discriminant(x, weight, known, [0.1])
    ways, cells = [2, 0, 1], torch.randperm(9, generator=torch.Generator().manual_seed(1))
    (found,) = fit_discriminant(x[cells], weight[cells][:, ways], known[cells], [0.1])
    torch.testing.assert_close(found.score(x), expected.score(x)[:, ways])


def test_joint_cells_have_unit_length_in_each_level():
    rng = torch.Generator().manual_seed(0)
    fine, coarse = torch.randn(2, 3, 8, 4, generator=rng), torch.randn(2, 5, 2, 1, generator=rng)
    cells = joint_cells([fine, coarse[:, :, :1]], 8, 4)
    assert cells.shape == (64, 8)
    torch.testing.assert_close(cells[:, :3].norm(dim=1), torch.ones(64))
    torch.testing.assert_close(cells[:, 3:].norm(dim=1), torch.ones(64))
    torch.testing.assert_close(cells[32 + 4 + 2, :3], torch.nn.functional.normalize(fine[1, :, 1, 2], dim=0))


def test_levels_scored_one_by_one_are_scored_as_their_joint_cells():
    rng = torch.Generator().manual_seed(0)
    maps = [torch.randn(c, *size, generator=rng) for c, size in ((3, (8, 4)), (5, (4, 4)), (4, (2, 1)), (2, (16, 8)))]
    joint = joint_cells([m[None] for m in maps], 8, 4)
    weight = torch.rand(32, 2, generator=rng)
    fits = fit_discriminant(joint, weight, torch.ones(32), [0.1, 1.0])
    found = score_levels(fits, unit_cells(maps, 32))
    assert found.shape == (2, 2, 8, 4)
    for strength, fit in enumerate(fits):
        torch.testing.assert_close(found[:, strength].flatten(1).T, fit.score(joint), atol=1e-5, rtol=1e-5)
