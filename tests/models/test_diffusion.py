"""Diffusion along edges against dense linear algebra and loops."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.graph.backend import make_graph, to_edge_graph
from pixgraph.graph.edges import EdgeKind
from pixgraph.models.diffusion import ALONG_LATTICE, diffuse, random_walk

KINDS = {EdgeKind.LATTICE: 1.0, EdgeKind.QUERY_SUPPORT_KNN: 0.3}


def example(nodes, edges, seed):
    """A random graph with edges of three kinds, one of which carries nothing, and unit features."""
    rng = torch.Generator().manual_seed(seed)
    src, dst = torch.randint(nodes, (2, edges), generator=rng)
    kind = torch.tensor([EdgeKind.LATTICE, EdgeKind.QUERY_SUPPORT_KNN, EdgeKind.BG_BG])
    edata = {
        "kind": kind[torch.randint(3, (edges,), generator=rng)].to(torch.uint8),
        "feature": torch.rand(edges, 3, generator=rng),
    }
    return make_graph(src, dst, nodes, edata=edata), F.normalize(torch.randn(nodes, 4, generator=rng), dim=1)


def walk(graph, unit, color, feature):
    """W as a matrix, edge by edge."""
    matrix = torch.zeros(graph.num_nodes(), graph.num_nodes(), dtype=torch.float64)
    for s, t, k, d in zip(*map(torch.Tensor.tolist, graph.edges()), *_edge_data(graph), strict=True):
        near = torch.exp(-torch.tensor(feature * (1 - float(unit[s].double() @ unit[t].double()))))
        colour = torch.exp(-torch.tensor(color * d)) if k == EdgeKind.LATTICE else 1.0
        matrix[t, s] += KINDS.get(EdgeKind(k), 0.0) * near * colour
    return (matrix / matrix.sum(1, keepdim=True)).nan_to_num(0.0)


def _edge_data(graph):
    return graph.edata["kind"].tolist(), graph.edata["feature"][:, 0].tolist()


@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 8), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_steps_are_those_of_the_matrix(nodes, edges, first, seed):
    first = min(first, nodes - 1)
    graph, unit = example(nodes, edges, seed)
    walked = random_walk(graph, first, unit, KINDS, 3.0, 2.0)
    start = torch.rand(nodes, 2, generator=torch.Generator().manual_seed(seed))
    found = diffuse(walked, start, 0.8, 3)
    matrix = walk(graph, unit, 3.0, 2.0)
    matrix[:first] = 0
    hears = (matrix.sum(1, keepdim=True) > 0).double()
    expected = start.double()
    for _ in range(3):
        expected = (1 - 0.8 * hears) * start + 0.8 * matrix @ expected
    torch.testing.assert_close(found, expected[first:].float(), atol=1e-5, rtol=1e-4)


def test_many_steps_reach_the_closed_form():
    graph, unit = example(8, 60, 1)
    walked = random_walk(graph, 0, unit, KINDS, 1.0, 1.0)
    start = torch.rand(8, 2, generator=torch.Generator().manual_seed(2))
    matrix = walk(graph, unit, 1.0, 1.0)
    assert (matrix.sum(1) > 0).all()
    expected = torch.linalg.solve(torch.eye(8, dtype=torch.float64) - 0.7 * matrix, 0.3 * start.double())
    torch.testing.assert_close(diffuse(walked, start, 0.7, 100), expected.float(), atol=1e-5, rtol=1e-4)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_probabilities_stay_probabilities(seed):
    graph, unit = example(7, 30, seed)
    walked = random_walk(graph, 0, unit, KINDS, 5.0, 5.0)
    start = torch.randn(7, 3, generator=torch.Generator().manual_seed(seed)).softmax(1)
    start[:, 2] = 0  # a class that is nowhere
    start = start / start.sum(1, keepdim=True)
    found = diffuse(walked, start, 0.9, 20)
    torch.testing.assert_close(found.sum(1), torch.ones(7))
    assert not found[:, 2].any()
    assert (found.amin(0) >= start.amin(0) - 1e-6).all()
    assert (found.amax(0) <= start.amax(0) + 1e-6).all()


def test_a_node_that_nothing_leads_to_keeps_what_is_known_of_it():
    """Edges 0 -> 1 on the lattice, 1 -> 0 of a kind that carries nothing; nobody leads to 2."""
    edata = {"kind": torch.tensor([EdgeKind.LATTICE, EdgeKind.FG_FG]), "feature": torch.zeros(2, 3)}
    graph = make_graph(torch.tensor([0, 1]), torch.tensor([1, 0]), 3, edata=edata)
    walked = random_walk(graph, 0, torch.eye(3), ALONG_LATTICE, 1.0, 1.0)
    start = torch.tensor([[1.0], [0.0], [5.0]])
    torch.testing.assert_close(diffuse(walked, start, 0.5, 1), torch.tensor([[1.0], [0.5], [5.0]]))


def test_colours_and_features_hinder_edges_by_the_formula():
    """Two edges into node 0: colour difference 0.2 and orthogonal features, or equal in both."""
    edata = {"kind": torch.full((2,), EdgeKind.LATTICE), "feature": torch.tensor([[0.2, 0, 0], [0.0, 0, 0]])}
    graph = make_graph(torch.tensor([1, 2]), torch.tensor([0, 0]), 3, edata=edata)
    unit = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    shares = random_walk(graph, 0, unit, ALONG_LATTICE, 10.0, 3.0).shares
    odds = torch.exp(torch.tensor(-10 * 0.2 - 3.0))
    torch.testing.assert_close(shares, torch.stack([odds, torch.tensor(1.0)]) / (1 + odds))


def test_a_node_that_differs_from_all_still_hears_them():
    """Orthogonal features and colour differences of 1 and 1.5 at c = 30: weights of e^-35 and e^-50."""
    edata = {"kind": torch.full((2,), EdgeKind.LATTICE), "feature": torch.tensor([[1.0, 0, 0], [1.5, 0, 0]])}
    graph = make_graph(torch.tensor([1, 2]), torch.tensor([0, 0]), 3, edata=edata)
    shares = random_walk(graph, 0, torch.eye(3), ALONG_LATTICE, 30.0, 5.0).shares
    torch.testing.assert_close(shares, torch.tensor([0.0, 15.0]).neg().softmax(0))


def test_half_precision_is_computed_in_single():
    graph, unit = example(6, 30, 0)
    shares = random_walk(graph, 0, unit.half(), KINDS, 10.0, 5.0).shares
    assert shares.dtype == torch.float32
    torch.testing.assert_close(shares, random_walk(graph, 0, unit, KINDS, 10.0, 5.0).shares, atol=0.01, rtol=0.02)


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_numbers_of_nodes_and_edges_do_not_matter(seed):
    graph, unit = example(7, 30, seed)
    rng = torch.Generator().manual_seed(seed)
    nodes, edges = torch.randperm(7, generator=rng), torch.randperm(30, generator=rng)
    src, dst = (nodes[ends][edges] for ends in graph.edges())
    turned = make_graph(src, dst, 7, edata={name: x[edges] for name, x in graph.edata.items()})
    start = torch.rand(7, 2, generator=rng)
    back = nodes.argsort()
    found = []
    for g, u, y in ((graph, unit, start), (turned, unit[back], start[back])):
        found.append(diffuse(random_walk(g, 0, u, KINDS, 2.0, 2.0), y, 0.9, 4))
    torch.testing.assert_close(found[1], found[0][back])


@pytest.mark.parametrize(("alpha", "steps"), [(0.0, 5), (0.9, 0)])
def test_no_way_to_go_changes_nothing(alpha, steps):
    graph, unit = example(5, 20, 0)
    start = torch.rand(5, 2)
    walked = random_walk(graph, 1, unit, KINDS, 1.0, 1.0)
    assert torch.equal(diffuse(walked, start, alpha, steps), start[1:])


def test_dgl_is_not_needed():
    graph, unit = example(9, 50, 3)
    start = torch.rand(9, 2)
    walks = [random_walk(kind, 0, unit, KINDS, 2.0, 2.0) for kind in (graph, to_edge_graph(graph))]
    torch.testing.assert_close(*(diffuse(one, start, 0.9, 5) for one in walks))
