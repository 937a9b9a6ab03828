"""The order of edges that attention reads: complete, dense by degree, and kept while the graph does not change."""

import pytest
import torch

from pixgraph.graph.attention import edge_attention, ordered_attention
from pixgraph.graph.backend import make_graph, to_edge_graph
from pixgraph.graph.edge_order import edge_order

NODES, EDGES = 12, 40


@pytest.fixture(params=["default", "EdgeGraph"])
def graph(request):
    """Nodes 9 to 11 hear nobody, node 1 is a hub."""
    rng = torch.Generator().manual_seed(0)
    src = torch.randint(0, NODES, (EDGES,), generator=rng)
    dst = torch.randint(0, NODES - 3, (EDGES,), generator=rng)
    dst[:10] = 1
    made = make_graph(src, dst, NODES)
    return made if request.param == "default" else to_edge_graph(made)


@pytest.mark.parametrize("first", [0, 2, 5, 9])
def test_every_edge_into_the_wanted_nodes_comes_once_by_degree(graph, first):
    order = edge_order(graph, first)
    src, dst = graph.edges()
    assert order.edges.sort().values.tolist() == (dst >= first).nonzero().squeeze(1).tolist()
    assert torch.equal(order.src.long(), src[order.edges])
    assert torch.equal(order.dst.long() + first, dst[order.edges])
    degree = graph.in_degrees()
    ranked = [(int(degree[v]), v - first) for v in range(first, NODES) if degree[v]]
    assert order.nodes.tolist() == [v for _, v in sorted(ranked)]
    assert order.offsets.diff().tolist() == sorted(d for d, _ in ranked)
    assert [d for d, a, b in order.runs for _ in range((b - a) // d)] == order.offsets.diff().tolist()


def test_edges_by_source(graph):
    order = edge_order(graph)
    offsets, dst, place = order.by_source
    assert torch.equal(offsets.diff().long(), graph.out_degrees())
    assert torch.equal(order.src[place], order.src.sort().values)
    assert torch.equal(order.dst[place], dst)


def test_values_are_sorted_into_columns(graph):
    values = torch.rand(EDGES, 3)
    order = edge_order(graph)
    assert torch.equal(order.sort(values), values[order.edges].T)


def test_computed_once_until_the_graph_changes(graph):
    order = edge_order(graph)
    assert edge_order(graph) is order
    assert edge_order(graph, 3) is not order
    assert edge_order(graph.local_var()).edges.tolist() == order.edges.tolist()
    if hasattr(graph, "add_edges"):
        graph.add_edges([0], [11])
        assert len(edge_order(graph).edges) == EDGES + 1


@pytest.mark.parametrize("first", [0, 4, 9, 12])
def test_attention_of_later_nodes_alone_equals_that_of_all(graph, first):
    rng = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(NODES, 6, 5, generator=rng, dtype=torch.float64).requires_grad_() for _ in range(3))
    bias = torch.randn(EDGES, 2, generator=rng, dtype=torch.float64).requires_grad_()
    inputs = (q, k, v, bias)
    order = edge_order(graph, first)
    part = ordered_attention(graph, order, q[first:], k, v, order.sort(bias))
    every = edge_attention(graph, *inputs)[first:]
    torch.testing.assert_close(part, every)
    weight = torch.randn(part.shape, generator=rng, dtype=torch.float64)
    got = torch.autograd.grad((part * weight).sum(), inputs)
    for a, b in zip(got, torch.autograd.grad((every * weight).sum(), inputs), strict=True):
        torch.testing.assert_close(a, b)
