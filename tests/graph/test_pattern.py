"""What graphs of one pattern share: worked out once, the same as without, and never for another graph."""

import pytest
import torch
from tiny_task import task

from pixgraph.backbones.memory import ByteLRU
from pixgraph.config import GraphConfig
from pixgraph.graph import pattern
from pixgraph.graph.backend import edge_subgraph, make_graph
from pixgraph.graph.edge_order import edge_order
from pixgraph.graph.pattern import shared
from pixgraph.graph.support import support_part
from pixgraph.graph.task import attach_queries
from pixgraph.models.diffusion import ALONG_LATTICE, random_walk


@pytest.fixture(autouse=True)
def _nothing_is_known_yet(monkeypatch):
    monkeypatch.setattr(pattern, "_made", ByteLRU(1 << 26))


def graph_config(**config):
    return GraphConfig(**{"stride": 8, "num_fg": 9, "num_bg": 12, "dilations": [1, 2], **config})


def graphs(**config):
    """Graphs of two queries attached to the same supports, one at a time."""
    some = task(shots=2, queries=2)
    part = support_part(some.support, graph_config(**config), 0)
    return [attach_queries(part, [query], support_edges=False) for query in some.query]


def counted(graph, what="x"):
    """Whether something had to be worked out for the graph."""
    calls = []
    shared(graph, what, lambda: calls.append(1) or len(calls))
    return bool(calls)


def test_the_second_query_needs_nothing_worked_out():
    first, second = graphs()
    assert counted(first)
    assert not counted(second)
    assert counted(second, "y")


@pytest.mark.parametrize(
    "other", [{"dilations": [1]}, {"query_support_knn": 1}, {"query_support_random": 1}, {"num_fg": 8}]
)
def test_graphs_of_other_edges_have_another_pattern(other):
    assert counted(graphs()[0])
    assert counted(graphs(**other)[0])


def test_ways_back_support_edges_and_changed_graphs_have_none():
    some = task(shots=2)
    graph = graphs()[0]
    part = support_part(some.support, graph_config(), 0)
    fresh = [
        attach_queries(part, some.query),
        graphs(both_ways=True)[0],
        edge_subgraph(graph, torch.arange(graph.num_edges() - 1)),
        make_graph(*graph.edges(), graph.num_nodes()),
    ]
    for g in fresh:
        assert counted(g)
        assert counted(g)


def test_large_graphs_are_not_remembered(monkeypatch):
    monkeypatch.setattr(pattern, "LARGEST", 10)
    first, second = graphs()
    assert counted(first)
    assert counted(second)


def test_the_oldest_goes_first(monkeypatch):
    graph = graphs()[0]
    monkeypatch.setattr(pattern, "_made", ByteLRU(2 * pattern.BYTES * graph.num_edges()))
    assert [counted(graph, what) for what in "aabcba"] == [True, False, True, True, False, True]


def test_order_and_walk_are_the_same_as_without():
    first, second = graphs()
    unit = torch.nn.functional.normalize(torch.randn(first.num_nodes(), 4), dim=1)

    def walk(graph):
        return random_walk(graph, 0, unit, ALONG_LATTICE, 3.0, 2.0)

    for work in (edge_order, walk):
        work(first)
    plain = make_graph(*second.edges(), second.num_nodes(), dict(second.ndata), dict(second.edata))
    for found, expected in zip(vars(edge_order(second)).values(), vars(edge_order(plain)).values(), strict=True):
        assert torch.equal(found, expected) if isinstance(found, torch.Tensor) else found == expected
    for found, expected in zip(walk(second), walk(plain), strict=True):
        assert torch.equal(found, expected) if isinstance(found, torch.Tensor) else found == expected


def test_what_prediction_worked_out_serves_training():
    first, second = graphs()
    with torch.inference_mode():
        made = shared(first, "x", lambda: torch.ones(3))
    weight = torch.ones(3, requires_grad=True)
    (weight * shared(second, "x", lambda: None)).sum().backward()
    assert torch.equal(weight.grad, made)


def test_two_queries_at_once_are_another_pattern():
    some = task(shots=2, queries=2)
    part = support_part(some.support, graph_config(), 0)
    assert counted(attach_queries(part, some.query[:1], support_edges=False))
    assert counted(attach_queries(part, some.query, support_edges=False))
