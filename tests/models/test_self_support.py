"""Self-support against a loop and three-cell cases, its symmetries, and its place in the network."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_tasks import STRIDES, graph_config, network, task, with_label

from pixgraph.graph.task import task_graph
from pixgraph.models.evidence import query_cells
from pixgraph.models.levels import compared_levels, level_statistics, standardise
from pixgraph.models.places import NodeGrid
from pixgraph.models.self_support import self_evidence, self_support, sides_of
from pixgraph.models.support_cells import count_shots


def evidence(unit, chance):
    """Evidence (P, N) of unit features (P, C) and likelihoods (P, N)."""
    return self_evidence(unit, sides_of(chance.T)).T


def cells(p, c, seed=0):
    return F.normalize(torch.randn(p, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def test_three_cells_of_two_directions():
    unit = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    # 0.3 and 0.1 are less than 0.6 * 0.9: one direction each, 1 and -1, and 0 halfway.
    found = evidence(unit, torch.tensor([[0.9], [0.1], [0.3]], dtype=torch.float64))
    torch.testing.assert_close(found[:, 0], torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    # 0.6 counts: prototypes (9, 6) / r and (0, 1); means (9 * 9 + 6 * (6 - r)) / 15 r and (6 - r) / r.
    found = evidence(unit, torch.tensor([[0.9], [0.6], [0.1]], dtype=torch.float64))
    r = math.sqrt(117)
    middle = ((81 + 6 * (6 - r)) / (15 * r) + (6 - r) / r) / 2
    expected = torch.tensor([9 / r, (6 - r) / r, (6 - r) / r], dtype=torch.float64) - middle
    torch.testing.assert_close(found[:, 0], expected)


@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_evidence_is_that_of_a_loop(p, n, seed):
    unit = cells(p, 5, seed)
    chance = torch.rand(p, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = evidence(unit, chance)
    for k in range(n):
        weights, prototypes = [], []
        for side in (chance[:, k].tolist(), (1 - chance[:, k]).tolist()):
            weights.append([w if w >= 0.6 * max(side) else 0.0 for w in side])
            total = sum(w * u for w, u in zip(weights[-1], unit, strict=True))
            prototypes.append(total / total.norm())
        score = [float(u @ prototypes[0]) - float(u @ prototypes[1]) for u in unit]
        means = [sum(w * s for w, s in zip(side, score, strict=True)) / sum(side) for side in weights]
        share = (float(chance[:, k].max()) + 1e-6) / (float(chance.max()) + 1e-6)
        for i in range(p):
            assert float(found[i, k]) == pytest.approx(share**8 * (score[i] - sum(means) / 2), abs=1e-9)


@pytest.mark.parametrize(("chance", "sign"), [(0.0, -1), (1.0, 1)])
def test_a_class_that_is_nowhere_or_everywhere_has_one_prototype(chance, sign):
    unit = cells(6, 4)
    found = evidence(unit, torch.full((6, 1), chance, dtype=torch.float64))
    score = sign * unit @ F.normalize(unit.sum(0), dim=0)
    torch.testing.assert_close(found[:, 0], score - score.mean() / 2)


def test_a_class_gets_evidence_only_if_it_stands_out():
    """Half as likely as another class: nothing; a second one that is as likely: the same as if it were alone."""
    unit, first = cells(8, 4), torch.linspace(0.1, 0.9, 8, dtype=torch.float64)
    alone, other = (evidence(unit, p[:, None])[:, 0] for p in (first, first.flip(0)))
    found = evidence(unit, torch.stack([first, first.flip(0), first / 2], 1))
    torch.testing.assert_close(found[:, :2], torch.stack([alone, other], 1))
    assert found[:, 2].abs().max() < 0.01


def test_the_same_probability_everywhere_says_nothing():
    assert evidence(cells(6, 4), torch.full((6, 2), 0.5, dtype=torch.float64)).abs().max() < 1e-12


def test_an_object_known_in_part_is_completed():
    """Two kinds of cells, one of them half found: the other half gets positive evidence, the rest negative."""
    unit = F.normalize(torch.tensor([[1.0, 0.2], [0.2, 1.0]]).repeat_interleave(8, 0), dim=1)
    chance = torch.zeros(16, 1)
    chance[:4] = 0.9
    found = evidence(unit, chance)[:, 0]
    assert (found[4:8] > 0.1).all()
    assert (found[8:] < -0.1).all()


def example(rows=4, columns=4, n=2, seed=0):
    """Probabilities of the nodes, the query's cells on two levels, and where the nodes are."""
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(c, s, s, generator=generator) for c, s in ((3, 8), (4, 4), (6, 2))]
    chance = torch.randn(rows * columns, n, generator=generator).sigmoid()
    return chance, query_cells(maps[1:]), NodeGrid(7, rows, columns)


def test_levels_count_alike_each_on_its_own_grid():
    chance, compared, place = example()
    fine = evidence(compared[0].unit, chance)
    pooled = chance.T.view(2, 2, 2, 2, 2).mean((2, 4)).flatten(1).T  # four nodes a cell of the coarse level
    coarse = evidence(compared[1].unit, pooled).T.view(1, 2, 2, 2)
    spread = F.interpolate(coarse, (4, 4), mode="bilinear", align_corners=False).flatten(2)[0].T
    torch.testing.assert_close(self_support(chance, compared, place), (fine + spread) / 2)


def test_classes_are_seen_alike():
    chance, compared, place = example(n=3)
    turned = self_support(chance[:, [2, 0, 1]], compared, place)
    torch.testing.assert_close(turned, self_support(chance, compared, place)[:, [2, 0, 1]])


def scores(strength, shots=1):
    some = task(2, shots=shots)
    with torch.no_grad():
        net = network(self_support=strength, discriminant=0.0, diffusion=0.0)
        return net(task_graph(some, graph_config(), 0), some).node_logits[0]


@pytest.mark.parametrize("shots", [1, 5])
def test_the_network_adds_it_whatever_the_number_of_supports(shots):
    plain, once, twice = (scores(strength, shots) for strength in (0.0, 1.0, 2.0))
    assert (once - plain).abs().max() > 0.01
    torch.testing.assert_close(twice - plain, 2 * (once - plain), atol=1e-4, rtol=1e-4)
    some = task(2, shots=shots)
    statistics = level_statistics(some.support)
    maps = standardise(some.query[0], statistics)
    compared = query_cells([maps[i] for i in compared_levels(STRIDES)])
    chance = F.pad(plain.flatten(1).T, (1, 0)).softmax(1)[:, 1:]
    added = self_support(chance, compared, NodeGrid(0, 8, 8)).T.view_as(plain)
    torch.testing.assert_close(once - plain, added, atol=1e-4, rtol=1e-4)


def test_shots_are_photographs_class_by_class():
    label = torch.zeros(3, 2, 2, dtype=torch.int64)
    label[0, 0, 0], label[1, 0, 0], label[2, 0, 0], label[2, 1, 1] = 1, 1, 2, 255
    shown = [with_label(old, mask) for old, mask in zip(task(3).support, label, strict=True)]
    assert count_shots(shown, 2) == 1.5
    assert count_shots(shown[:1], 2) == 0.5
    windows = [replace(p, photograph="a") for p in shown[:2]]
    assert count_shots([*windows, shown[2]], 2) == 1
    assert count_shots([*windows, replace(shown[1], photograph="b")], 2) == 1
