"""Class-wise evidence against a loop over cells and classes, and its symmetries and degenerate supports."""

import math

import pytest
import torch
import torch.nn.functional as F
from toy_tasks import STRIDES, picture

from pixgraph.models.cell_labels import label_areas
from pixgraph.models.evidence import (
    EVIDENCE,
    QUERY_CELLS,
    RIDGES,
    SCALE,
    SPREAD,
    Evidence,
    LevelEvidence,
    query_cells,
    relative,
)
from pixgraph.models.levels import compared_levels
from pixgraph.models.support_cells import support_cells


def example(n_way=2, cells=12, queries=5, dtype=torch.float64, seed=0):
    """Unit features, and shares with cells of one class, of several, half known and unknown."""
    rng = torch.Generator().manual_seed(seed)
    query, support = (F.normalize(torch.randn(n, 4, generator=rng, dtype=dtype), dim=1) for n in (queries, cells))
    share = torch.rand(cells, n_way + 1, generator=rng, dtype=dtype) ** 6
    known = torch.rand(cells, generator=rng, dtype=dtype)
    known[0], known[1:3] = 1.0, 0.0
    weight = share[:, 1:] / share.sum(1, keepdim=True) * known[:, None]
    return query, support, weight, known


def evidence_of(module, query, support, weight, known):
    return module(query, support_cells(support, weight, known))


def logit(p):
    p = min(max(p, 1e-4), 1 - 1e-4)
    return math.log(p / (1 - p))


def oracle(query, support, weight, known, sharpness=(10.0, 40.0)):
    """In the words of the module's text, one query cell and one class at a time."""
    cells = [j for j in range(len(support)) if known[j] > 0]
    out = torch.zeros(len(query), weight.shape[1], EVIDENCE, dtype=torch.float64)
    for i, q in enumerate(query):
        s = [float(q @ x) for x in support]
        for n in range(weight.shape[1]):
            w = weight[:, n].tolist()
            soft = []
            for t in sharpness:
                mass = [math.exp(t * s[j]) * float(known[j]) for j in cells]
                a = sum(m * w[j] / float(known[j]) for m, j in zip(mass, cells, strict=True)) / sum(mass)
                balanced = logit(a) - logit(sum(w) / float(known.sum()))
                soft.append(1 / (1 + math.exp(-balanced)))
            fg = [j for j in cells if w[j] > 0.5 * known[j]]
            fg = fg or [j for j in cells if w[j] == max(w) > 0]
            best = max((s[j] for j in fg), default=-1.0)
            rival = max((s[j] for j in cells if j not in fg), default=-1.0)
            p = sum(w[j] * support[j] for j in cells)
            b = sum((float(known[j]) - w[j]) * support[j] for j in cells)
            own, other = (float(q @ F.normalize(x, dim=0)) for x in (p, b))
            out[i, n] = torch.tensor([*soft, best - rival, best, own - other, own])
    return out


@pytest.mark.parametrize("n_way", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_a_slow_loop(n_way, seed):
    parts = example(n_way, seed=seed)
    torch.testing.assert_close(evidence_of(Evidence().double(), *parts), oracle(*parts), atol=1e-6, rtol=1e-6)


def test_any_number_of_sharpnesses():
    query, *known = example(2)
    both = evidence_of(Evidence((10.0, 40.0)).double(), query, *known)
    for t, kept in ((10.0, [0, 2, 3, 4, 5]), (40.0, [1, 2, 3, 4, 5])):
        single = Evidence((t,)).double()
        assert single.channels == 5
        torch.testing.assert_close(evidence_of(single, query, *known), both[..., kept])


def test_unknown_cells_have_no_influence_however_similar_they_are():
    """An unknown cell that equals the query must not drown the known ones, which are all far from it."""
    query = torch.eye(4)[:1]
    support = F.normalize(torch.tensor([[-1, 1, 0, 0], [-1, 0, 1, 0], [1, 0, 0, 0.0]]), dim=1)
    weight, known = torch.tensor([[1.0], [0], [0]]), torch.tensor([1.0, 1, 0])
    got = evidence_of(Evidence(), query, support, weight, known)
    torch.testing.assert_close(got, evidence_of(Evidence(), query, support[:2], weight[:2], known[:2]))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_evidence_and_gradients_are_finite_where_nothing_or_everything_is_the_class(share):
    query, support, _, _ = example(dtype=torch.float32)
    for known in (torch.ones(12), torch.zeros(12)):
        module = Evidence()
        inputs = [query.clone().requires_grad_(), support.clone().requires_grad_()]
        out = evidence_of(module, *inputs, known[:, None] * share, known)
        out.sum().backward()
        assert out.isfinite().all()
        assert all(x.grad.isfinite().all() for x in (*inputs, module.log_sharpness))


def test_a_class_that_no_support_shows_has_neutral_densities_and_the_least_similarity():
    query, support, weight, known = example()
    out = evidence_of(Evidence().double(), query, support, torch.zeros_like(weight), known)
    torch.testing.assert_close(out[..., :2], torch.full_like(out[..., :2], 0.5))
    assert torch.equal(out[..., 3], torch.full_like(out[..., 3], -1))
    assert out[..., 5].count_nonzero() == 0


def test_order_of_classes_cells_and_queries_does_not_matter():
    query, support, weight, known = example(3)
    module = Evidence().double()
    expected = evidence_of(module, query, support, weight, known)
    ways = [2, 0, 1]
    torch.testing.assert_close(evidence_of(module, query, support, weight[:, ways], known), expected[:, ways])
    cells = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(evidence_of(module, query, support[cells], weight[cells], known[cells]), expected)
    torch.testing.assert_close(evidence_of(module, query.flip(0), support, weight, known), expected.flip(0))
    torch.testing.assert_close(evidence_of(module, query, support, weight[:, 1:2], known), expected[:, 1:2])


def test_gradcheck():
    query, support, weight, known = example(cells=6, queries=2)
    module = Evidence().double()
    inputs = (query.requires_grad_(), support.requires_grad_(), module.log_sharpness)
    assert torch.autograd.gradcheck(lambda q, s, _: evidence_of(module, q, s, weight, known), inputs)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision(kind):
    parts = example(dtype=torch.float32)
    module = Evidence()
    expected = evidence_of(module, *parts)
    with torch.autocast("cpu", dtype=kind):
        out = evidence_of(module, *parts)
    out.float().sum().backward()
    torch.testing.assert_close(out.float(), expected, atol=0.1, rtol=0.1)
    assert module.log_sharpness.grad.isfinite().all()


@pytest.mark.parametrize("levels", [1, 3])
def test_level_evidence_has_a_map_for_every_level_but_the_finest_and_for_the_discriminants(levels):
    support, query = picture(0), picture(1)
    compared = compared_levels(STRIDES[:levels])
    evidence = LevelEvidence(len(compared))
    prepared = evidence.prepare([support.features[i][None] for i in compared], support.label[None], 1)
    out = evidence(query_cells([query.features[i] for i in compared]), prepared)
    grids = [(16, 16)] if levels == 1 else [(8, 8), (4, 4)]
    assert [tuple(x.shape) for x in out[:-1]] == [(1, EVIDENCE, *grid) for grid in grids]
    assert out[-1].shape == (1, len(RIDGES), *grids[0])
    assert sum(x.shape[1] for x in out) == evidence.channels


def test_squares_of_background_are_compared_with_as_one_cell():
    support = picture(0)
    prepared = LevelEvidence(2).prepare([f[None] for f in support.features[1:]], support.label[None], 1)
    shown = [label_areas(support.label[None], 1, side, side)[:, 1].view(side // 2, 2, -1, 2) > 0 for side in (8, 4)]
    squares = [(~cells.any(3).any(1)).sum().item() for cells in shown]
    assert [len(level.unit) for level in prepared.cells] == [64 - 3 * squares[0], 16 - 3 * squares[1]]
    assert squares[0] > 0


def test_frozen_features_get_no_gradient_and_the_sharpness_the_same_one():
    query, support, weight, known = example()
    found = []
    for learnt in (False, True):
        module = Evidence().double()
        evidence_of(module, query.clone().requires_grad_(learnt), support, weight, known).square().sum().backward()
        found.append(module.log_sharpness.grad)
    torch.testing.assert_close(*found)
    assert found[0].abs().min() > 1e-3


def test_discriminants_score_the_supports_own_cells_by_their_labels():
    support = picture(0)
    evidence = LevelEvidence(2)
    prepared = evidence.prepare([f[None] for f in support.features[1:]], support.label[None], 1)
    maps = evidence(query_cells(support.features[1:]), prepared)
    own = label_areas(support.label[None], 1, 8, 8)[:, 1]
    weak, strong = maps[-1][0].flatten(1) / SCALE
    pure = (own == 0) | (own == 1)
    assert float(((weak > 0) == (own == 1))[pure].float().mean()) > 0.95  # all but some at the outlines
    assert strong.std() < weak.std()


def test_level_evidence_of_large_maps_is_bounded():
    big = torch.randn(3, 48, 80, generator=torch.Generator().manual_seed(0))
    evidence = LevelEvidence(1)
    prepared = evidence.prepare([big[None]], torch.zeros(1, 96, 160, dtype=torch.int64), 1)
    first, last = evidence(query_cells([big]), prepared)
    assert first.shape == (1, EVIDENCE, QUERY_CELLS, QUERY_CELLS)
    assert last.shape == (1, len(RIDGES), QUERY_CELLS, QUERY_CELLS)


def test_relative_evidence_forgets_its_level_and_its_range():
    e = torch.randn(50, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = relative(e)
    torch.testing.assert_close(out.mean(0), torch.zeros(2, 3, dtype=torch.float64))
    deviation = e.std(0, correction=0)
    torch.testing.assert_close(out.std(0, correction=0), deviation / (deviation + SPREAD) / 2)
    torch.testing.assert_close(relative(e + 5), out)
    torch.testing.assert_close(
        relative(100 * e).std(0, correction=0), torch.full((2, 3), 0.5).double(), rtol=1e-3, atol=0
    )
    assert not relative(torch.ones(4, 1, 2)).any()


def test_the_sharpest_attention_is_finite_and_picks_the_nearest_cell():
    query, support = torch.eye(3), torch.cat([-torch.eye(3), torch.eye(3)])
    weight, known = torch.zeros(6, 1), torch.ones(6)
    weight[3] = 1.0
    out = evidence_of(Evidence((1e4, 1e30)), query, support, weight, known)
    assert out.isfinite().all()
    assert (out[0, 0, :2] > 0.9).all()
    assert (out[1:, 0, :2] < 0.1).all()


@pytest.mark.parametrize("pairs", [1, 30])
def test_pieces_change_no_number(monkeypatch, pairs):
    query, support, weight, known = example(queries=7)
    evidence = Evidence().double()
    whole = evidence_of(evidence, query, support, weight, known)
    monkeypatch.setattr("pixgraph.models.evidence.PAIRS", pairs)
    torch.testing.assert_close(evidence_of(evidence, query, support, weight, known), whole)
