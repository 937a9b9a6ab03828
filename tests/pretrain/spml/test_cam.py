"""Class-activation maps from tags, the random walk, and the refinement of outlines."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.errors import DataError
from pixgraph.pretrain.spml.cam import fit_tags, with_background
from pixgraph.pretrain.spml.random_walk import affinity, refine, walk


def tagged(count=40, seed=0):
    """Feature maps (F, 4, 4) in which class c shines in channel c at one cell, and the pictures' tags."""
    rng = np.random.default_rng(seed)
    tags = rng.random((count, 3)) < 0.5
    maps = rng.normal(0, 0.1, (count, 6, 4, 4))
    places = rng.integers(0, 4, (count, 3, 2))
    for i, c in np.argwhere(tags):
        maps[i, c, places[i, c, 0], places[i, c, 1]] += 3
    return torch.tensor(maps, dtype=torch.float32), torch.tensor(tags), places


def test_tags_are_told_and_found():
    maps, tags, places = tagged()
    classifier = fit_tags(maps.mean((2, 3)), tags)
    assert ((classifier.scores(maps.mean((2, 3))) > 0) == tags).float().mean() > 0.95
    assert "classes=3" in repr(classifier)
    for i in range(10):
        found = classifier.maps(maps[i], tags[i])
        assert float(found.min()) >= 0
        assert float(found[~tags[i]].abs().sum()) == 0
        for c in torch.nonzero(tags[i])[:, 0].tolist():
            assert float(found[c].max()) == pytest.approx(1)
            assert np.unravel_index(int(found[c].argmax()), (4, 4)) == tuple(places[i, c])


def test_the_score_of_a_tag_is_the_mean_of_its_map():
    maps, tags, _ = tagged()
    one = fit_tags(maps.mean((2, 3)), tags)
    flat = (maps[0].flatten(1).T - one.mean) / one.deviation @ one.weight.T
    torch.testing.assert_close(flat.mean(0) + one.bias, one.scores(maps[:1].mean((2, 3)))[0])


def test_the_classifier_is_at_its_optimum_and_repeats_itself():
    maps, tags, _ = tagged()
    pooled = maps.mean((2, 3))
    a, b = fit_tags(pooled, tags), fit_tags(pooled, tags)
    assert torch.equal(a.weight, b.weight)
    weight, bias = (x.double().requires_grad_() for x in (a.weight, a.bias))
    x = ((pooled - a.mean) / a.deviation).double()
    target = tags.double()
    share = target.mean(0)
    balance = target / (2 * share) + (1 - target) / (2 * (1 - share))
    loss = F.binary_cross_entropy_with_logits(x @ weight.T + bias, target, weight=balance, reduction="sum") / len(x)
    (loss + 1e-2 * weight.square().sum()).backward()
    assert float(weight.grad.abs().max()) < 2e-3
    assert float(bias.grad.abs().max()) < 2e-3


def test_permuting_the_classes_permutes_the_maps():
    maps, tags, _ = tagged()
    order = [2, 0, 1]
    a, b = fit_tags(maps.mean((2, 3)), tags), fit_tags(maps.mean((2, 3)), tags[:, order])
    torch.testing.assert_close(b.maps(maps[3], tags[3][order]), a.maps(maps[3], tags[3])[order], atol=0.02, rtol=0.02)


def test_tags_that_tell_nothing_are_refused():
    pooled = torch.randn(5, 4)
    everywhere = torch.ones(5, 2, dtype=torch.bool)
    with pytest.raises(DataError, match="got 5 pictures, and every class is on all of them or on none"):
        fit_tags(pooled, everywhere)
    some = everywhere.clone()
    some[0, 0] = False
    with pytest.raises(DataError, match="expected a class that some show and others do not"):
        fit_tags(pooled, some, background=0)
    assert not fit_tags(pooled, some).weight[1].any()  # nothing is known of a class that is everywhere


def test_background_is_where_no_object_is():
    maps = torch.rand(3, 2, 2)
    full = with_background(maps, 0)
    assert torch.equal(full[1:], maps[1:])
    torch.testing.assert_close(full[0], (1 - maps[1:].amax(0)) ** 6)
    assert with_background(maps, None) is maps


def random_units(shape=(5, 3, 4), seed=0):
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=0)


def test_affinity_entry_by_entry():
    unit, other = random_units(), random_units(seed=1)
    found = affinity(unit, other)
    for i in range(12):
        for j in range(12):
            one = unit[:, i // 4, i % 4] @ unit[:, j // 4, j % 4]
            mirror = other[:, i // 4, 3 - i % 4] @ other[:, j // 4, 3 - j % 4]
            expected = (np.exp(5 * (float(one) - 1)) + np.exp(5 * (float(mirror) - 1))) / 2
            assert float(found[i, j]) == pytest.approx(expected)
    torch.testing.assert_close(affinity(unit), affinity(unit, unit.flip(2)))


@pytest.mark.parametrize("rows", [1, 9])
def test_walk_is_the_power_of_the_column_normalised_affinity(rows):
    """Few rows are multiplied step by step, many by the squared matrix."""
    a = affinity(random_units())
    scores = torch.rand(rows, 12, dtype=torch.float64)
    transition = a.numpy() ** 20
    transition /= transition.sum(0)
    assert np.allclose(transition.sum(0), 1)
    expected = scores.numpy() @ np.linalg.matrix_power(transition, 64)
    np.testing.assert_allclose(walk(scores, a).numpy(), expected, rtol=1e-9)
    np.testing.assert_allclose(walk(scores, a, doublings=0).numpy(), scores.numpy() @ transition, rtol=1e-9)
    constant = torch.ones(rows, 12, dtype=torch.float64)
    torch.testing.assert_close(walk(constant, a), constant)


def test_refinement_follows_the_colours():
    truth = np.zeros((24, 24), np.uint8)
    truth[6:18, 8:20] = 2
    rgb = np.where(truth[..., None] == 2, [220, 40, 40], [40, 60, 200]).astype(np.uint8)
    scores = np.zeros((4, 24, 24), np.float32)
    scores[1], scores[3] = 9, 0.01  # a class that cannot occur, and one that never wins
    inside = np.hypot(*(np.indices((24, 24)) - np.array([12, 14])[:, None, None]))
    scores[2], scores[0] = np.exp(-inside / 6), 0.35  # a round blob
    present = np.array([True, False, True, True])
    blob = np.where(scores[2] > scores[0], 2, 0)
    found = refine(rgb, scores, present)
    assert found.dtype == np.uint8
    assert set(np.unique(found).tolist()) <= {0, 2}
    assert (found == truth).mean() > max(0.99, (blob == truth).mean())


def test_refinement_with_one_class_alone():
    rgb = np.zeros((6, 6, 3), np.uint8)
    found = refine(rgb, np.random.default_rng(0).random((3, 6, 6)), np.array([False, True, False]))
    assert (found == 1).all()


def test_pixels_without_any_score_stay_unlabelled():
    rgb = np.random.default_rng(0).integers(0, 255, (6, 6, 3), np.uint8)
    scores = np.zeros((3, 6, 6))
    scores[1, :, :2] = 1
    found = refine(rgb, scores, np.array([True, True, True]))
    assert (found[:, :2] == 1).all()
    assert (found[:, 2:] == 254).all()
    assert (refine(rgb, np.zeros((3, 6, 6)), np.array([True, True, False])) == 254).all()
