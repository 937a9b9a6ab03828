"""The attention block: symmetries, states that do not mix, isolated nodes, and both engines."""

import pytest
import torch

from pixgraph.graph.backend import HAS_DGL, make_graph
from pixgraph.models import blocks, edge_bias
from pixgraph.models.blocks import GraphBlock

NODES, EDGES = 9, 30


def example(states=3, dtype=torch.float64, seed=0):
    """Nodes 7 and 8 hear nobody."""
    rng = torch.Generator().manual_seed(seed)
    src = torch.randint(0, NODES, (EDGES,), generator=rng)
    dst = torch.randint(0, NODES - 2, (EDGES,), generator=rng)
    feature = torch.rand(EDGES, 3, generator=rng, dtype=dtype)
    return src, dst, feature, torch.randn(NODES, states, 8, generator=rng, dtype=dtype)


def block(seed=0, **more):
    torch.manual_seed(seed)
    return GraphBlock(8, 2, 0.0, **more).double().eval()


def graph_of(src, dst, feature, nodes=NODES):
    return make_graph(src, dst, nodes, {}, {"feature": feature})


def test_order_of_edges_and_names_of_nodes_do_not_matter():
    src, dst, feature, x = example()
    layer = block()
    out = layer(graph_of(src, dst, feature), x)
    edges = torch.randperm(EDGES, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer(graph_of(src[edges], dst[edges], feature[edges]), x), out)
    name = torch.randperm(NODES, generator=torch.Generator().manual_seed(2))
    back = torch.argsort(name)
    torch.testing.assert_close(layer(graph_of(name[src], name[dst], feature), x[back])[name], out)


def test_states_of_a_node_do_not_mix():
    src, dst, feature, x = example()
    layer, graph = block(), graph_of(src, dst, feature)
    out = layer(graph, x)
    for n in range(3):
        torch.testing.assert_close(layer(graph, x[:, n : n + 1]), out[:, n : n + 1])
    torch.testing.assert_close(layer(graph, x.flip(1)), out.flip(1))


def test_edge_features_are_used_unless_switched_off():
    src, dst, feature, x = example()
    one, other = graph_of(src, dst, feature), graph_of(src, dst, 1 - feature)
    assert not torch.allclose(block()(one, x), block()(other, x))
    assert torch.equal(block(edge_features=False)(one, x), block(edge_features=False)(other, x))


def test_a_node_that_hears_nobody_depends_on_itself_alone():
    src, dst, feature, x = example()
    layer = block()
    out = layer(graph_of(src, dst, feature), x)
    none = torch.zeros(0, dtype=torch.int64)
    alone = layer(graph_of(none, none, feature[:0], 2), x[-2:])
    torch.testing.assert_close(out[-2:], alone)
    assert out.isfinite().all()


def test_messages_follow_the_direction_of_the_edge():
    x = example()[3].requires_grad_()
    graph = graph_of(torch.tensor([0]), torch.tensor([1]), torch.zeros(1, 3, dtype=torch.float64))
    block()(graph, x)[1].sum().backward()
    heard = x.grad.abs().amax((1, 2)) > 0
    assert heard.tolist() == [True, True] + [False] * (NODES - 2)


def test_nodes_that_are_remembered_send_what_they_would_have_sent():
    src, dst, feature, x = example()
    kept = dst >= 3  # nobody speaks to the first three
    layer, graph = block(), graph_of(src[kept], dst[kept], feature[kept])
    torch.testing.assert_close(layer(graph, x[3:], layer.messages(x[:3])), layer(graph, x)[3:])


def test_pieces_change_nothing(monkeypatch):
    src, dst, feature, x = example()
    layer, graph = block(), graph_of(src, dst, feature)
    out = layer(graph, x)
    monkeypatch.setattr(blocks, "NODE_PIECE", 2)
    monkeypatch.setattr(edge_bias, "EDGE_PIECE", 7)
    torch.testing.assert_close(layer(graph, x), out)


def test_biases_are_those_of_the_small_network():
    feature = example()[2]
    layer = block()
    torch.testing.assert_close(layer._biases(feature.T), layer.edge(feature).T)


def test_gradcheck():
    src, dst, feature, x = example(states=1)
    layer, graph = block(), graph_of(src, dst, feature)
    weight = layer.edge[0].weight
    assert torch.autograd.gradcheck(lambda y, _: layer(graph, y)[::4], (x.requires_grad_(), weight), fast_mode=True)


@pytest.mark.skipif(not HAS_DGL, reason="DGL cannot be imported")
def test_both_engines_give_equal_values_and_gradients(monkeypatch):
    src, dst, feature, x = example(dtype=torch.float32)
    results = []
    for engine in ("dgl", "torch"):
        monkeypatch.setenv("PIXGRAPH_ENGINE", engine)
        layer, y = block().float(), x.clone().requires_grad_()
        out = layer(graph_of(src, dst, feature), y)
        out.square().sum().backward()
        results.append([out, y.grad, *(p.grad for p in layer.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_half_precision():
    src, dst, feature, x = example(dtype=torch.float32)
    layer, graph = block().float(), graph_of(src, dst, feature)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(graph, x)
    torch.testing.assert_close(out.float(), layer(graph, x), atol=0.05, rtol=0.05)
    half = layer.bfloat16()(graph_of(src, dst, feature.bfloat16()), x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()
