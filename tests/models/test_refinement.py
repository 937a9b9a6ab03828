"""The three corrections of a trained network's logits: each against its formula, their order, and when they are out."""

import pytest
import torch
import torch.nn.functional as F
from toy_tasks import graph_config, network, task

from pixgraph.config import ModelConfig
from pixgraph.data.picture import FewShotTask
from pixgraph.graph.task import task_graph
from pixgraph.models.cell_labels import label_areas
from pixgraph.models.diffusion import ALONG_LATTICE, diffuse, random_walk
from pixgraph.models.discriminant import fit_discriminant, joint_cells
from pixgraph.models.levels import level_statistics, resample, standardise, unit_cells
from pixgraph.models.nodes import node_grids
from pixgraph.models.refinement import COLOR, STEPS, refine
from pixgraph.models.self_support import self_support

SIDE = 8
OFF = {"discriminant": 0.0, "self_support": 0.0, "diffusion": 0.0}


def example(queries=1, shots=2, n=2):
    """Graph of a task, where its queries are, features (5, 8, 8) of each, and logits of all nodes."""
    some = task(n, shots=shots, queries=queries)
    graph = task_graph(some, graph_config(), 0)
    rng = torch.Generator().manual_seed(0)
    maps = [torch.randn(5, SIDE, SIDE, generator=rng) for _ in range(queries)]
    return graph, node_grids(graph, some), maps, torch.randn(graph.num_nodes(), n, generator=rng)


def refined(graph, places, maps, logits, shots=2.0, scores=(), **config):
    cells = [unit_cells([m], 32) for m in maps]
    return refine(logits, graph, places, cells, scores, shots, ModelConfig(**{**OFF, **config}))


def spread_by_hand(graph, logits, alpha):
    walked = random_walk(graph, 0, None, ALONG_LATTICE, COLOR)
    return diffuse(walked, F.pad(logits, (1, 0)).softmax(1), alpha, STEPS)


def test_without_strengths_nothing_changes():
    graph, places, maps, logits = example()
    assert torch.equal(refined(graph, places, maps, logits), logits)


@pytest.mark.parametrize(("shots", "share"), [(0.5, 0.0), (1.0, 0.0), (2.0, 0.5), (5.0, 0.8)])
def test_discriminants_count_the_more_the_more_supports_there_are(shots, share):
    graph, places, maps, logits = example(queries=2)
    scores = [torch.randn(2, SIDE, SIDE) for _ in places]
    found = refined(graph, places, maps, logits, shots, scores, discriminant=3.0)
    expected = logits.clone()
    for place, z in zip(places, scores, strict=True):
        expected[place.nodes] += 3 * share * z.flatten(1).T
    torch.testing.assert_close(found, expected)


def test_diffusion_gives_the_log_odds_of_what_spreads():
    graph, places, maps, logits = example(queries=2)
    found = refined(graph, places, maps, logits, diffusion=0.8)
    spread = spread_by_hand(graph, logits, 0.8)
    torch.testing.assert_close(F.pad(found, (1, 0)).softmax(1), spread, atol=1e-5, rtol=1e-4)
    assert (spread - F.pad(logits, (1, 0)).softmax(1))[places[0].nodes].abs().max() > 0.05


def test_labels_spread_after_self_support():
    graph, places, maps, logits = example()
    found = refined(graph, places, maps, logits, self_support=4.0, diffusion=0.8)
    chance = F.pad(logits, (1, 0)).softmax(1)[places[0].nodes, 1:]
    more = logits.clone()
    more[places[0].nodes] += 4 * self_support(chance, unit_cells(maps, 32), places[0])
    expected = spread_by_hand(graph, more, 0.8)
    torch.testing.assert_close(F.pad(found, (1, 0)).softmax(1), expected, atol=1e-5, rtol=1e-4)


def test_a_certain_answer_stays_finite():
    graph, places, maps, logits = example()
    assert refined(graph, places, maps, 1e4 * logits.sign(), diffusion=0.9, self_support=8.0).isfinite().all()


def test_half_precision_is_refined_in_single_and_double_in_double():
    graph, places, maps, logits = example()
    exact = refined(graph, places, maps, logits.double(), diffusion=0.5)
    assert exact.dtype == torch.float64
    assert exact.float().double().ne(exact).any()  # not merely cast back
    single = refined(graph, places, maps, logits.bfloat16(), diffusion=0.5)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, atol=0.1, rtol=0.02)


def answers(some, graph=None, **config):
    with torch.no_grad():
        return network(**config)(task_graph(some, graph or graph_config(), 0), some).node_logits


@pytest.mark.parametrize("part", ["discriminant", "self_support", "diffusion"])
def test_each_part_reaches_the_answer_of_the_network(part):
    some = task(2, shots=2)
    strength = {"discriminant": 4.0, "self_support": 8.0, "diffusion": 0.9}[part]
    plain, found = answers(some, **OFF)[0], answers(some, **{**OFF, part: strength})[0]
    assert (found - plain).abs().max() > 0.01


@pytest.mark.parametrize("shots", [2, 4])
def test_the_network_adds_the_regression_with_the_weaker_ridge(shots):
    some = task(2, shots=shots)
    plain, found = answers(some, **OFF)[0], answers(some, **{**OFF, "discriminant": 3.0})[0]
    statistics = level_statistics(some.support)
    maps, of_supports = standardise(some.query[0], statistics), [standardise(p, statistics) for p in some.support]
    compared = (1, 2)  # of a shallow backbone all levels but the finest
    stacked = [torch.stack([m[i] for m in of_supports]) for i in compared]
    rows, columns = stacked[0].shape[-2:]
    areas = label_areas(torch.stack([p.label for p in some.support]), 2, rows, columns)
    (regression,) = fit_discriminant(joint_cells(stacked, rows, columns), areas[:, 1:], areas.sum(1), [0.1])
    score = regression.score(joint_cells([maps[i][None] for i in compared], rows, columns)).T.unflatten(
        1, (rows, columns)
    )
    torch.testing.assert_close(found - plain, 3 * (1 - 1 / shots) * resample(score, SIDE, SIDE), atol=1e-3, rtol=1e-3)


def test_the_network_spreads_labels_by_colour():
    some = task(2)
    graph = task_graph(some, graph_config(), 0)
    (place,) = node_grids(graph, some)
    plain, found = answers(some, **OFF)[0], answers(some, **{**OFF, "diffusion": 0.8})[0]
    logits = torch.zeros(graph.num_nodes(), 2)
    logits[place.nodes] = plain.flatten(1).T
    expected = spread_by_hand(graph, logits, 0.8)[place.nodes]
    torch.testing.assert_close(F.pad(found.flatten(1).T, (1, 0)).softmax(1), expected, atol=1e-4, rtol=1e-3)


def test_a_network_in_training_does_without():
    some = task(2, shots=2)
    graph = task_graph(some, graph_config(), 0)
    on, off = (network(**config).train() for config in ({}, OFF))
    torch.manual_seed(0)
    first = on(graph, some).node_logits[0]
    torch.manual_seed(0)
    assert torch.equal(first, off(graph, some).node_logits[0])


def test_queries_and_unlabelled_pictures_tell_each_other_nothing():
    some = task(2, shots=2, queries=2, unlabelled=1)
    together = answers(some)
    for query, found in zip(some.query, together, strict=True):
        (alone,) = answers(FewShotTask(2, some.support, [query]))
        torch.testing.assert_close(found, alone, atol=1e-3, rtol=1e-3)


def test_no_lattice_no_diffusion():
    some = task(2)
    none = graph_config(dilations=[])
    torch.testing.assert_close(answers(some, none)[0], answers(some, none, diffusion=0.0)[0], atol=1e-3, rtol=1e-3)
