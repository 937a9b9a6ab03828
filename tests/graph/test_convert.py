"""Conversions keep every edge in its order with its data, and come back unchanged."""

import sys

import networkx
import pytest
import torch

from pixgraph.errors import ConfigError, DependencyError
from pixgraph.graph.backend import batch, make_graph, to_edge_graph
from pixgraph.graph.convert import from_networkx, from_pyg, to_networkx, to_pyg


@pytest.fixture(params=["made", "EdgeGraph"])
def graph(request):
    """Five nodes, the last isolated; a parallel edge and a self-loop; edges in no order."""
    made = make_graph(
        torch.tensor([3, 0, 0, 2]),
        torch.tensor([1, 1, 1, 2]),
        5,
        {"rgbxy": torch.rand(5, 5), "label": torch.arange(5)},
        {"feature": torch.rand(4, 3), "kind": torch.tensor([4, 3, 2, 1])},
    )
    return made if request.param == "made" else to_edge_graph(made)


def assert_same(a, b):
    assert a.num_nodes() == b.num_nodes()
    for x, y in zip(a.edges(), b.edges(), strict=True):
        assert torch.equal(x, y)
    for left, right in ((a.ndata, b.ndata), (a.edata, b.edata)):
        assert sorted(left) == sorted(right)
        for name in left:
            torch.testing.assert_close(left[name], right[name])


def test_pyg_there_and_back(graph):
    data = to_pyg(graph)
    assert data.validate()
    assert data.num_nodes == 5
    assert data.edge_index.tolist() == [[3, 0, 0, 2], [1, 1, 1, 2]]
    assert torch.equal(data.edge_feature, graph.edata["feature"])
    assert torch.equal(data.rgbxy, graph.ndata["rgbxy"])
    assert_same(graph, from_pyg(data))


def test_pyg_keeps_batches(graph):
    joined = batch([graph, graph, graph])
    data = to_pyg(joined)
    assert data.batch.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert data.ptr.tolist() == [0, 5, 10, 15]
    back = from_pyg(data)
    assert back.batch_num_nodes().tolist() == [5, 5, 5]
    assert back.batch_num_edges().tolist() == [4, 4, 4]
    assert_same(joined, back)


def test_pyg_gives_the_same_sums(graph):
    """A PyG layer on the converted graph sums over the same edges as we do."""
    from torch_geometric.nn import SimpleConv

    data, x = to_pyg(graph), torch.rand(5, 2)
    expected = torch.zeros(5, 2).index_add_(0, graph.edges()[1], x[graph.edges()[0]])
    torch.testing.assert_close(SimpleConv("sum")(x, data.edge_index), expected)


def test_pyg_errors(graph, monkeypatch):
    graph.ndata["batch"] = torch.zeros(5)
    with pytest.raises(ConfigError, match=r"the names \['batch'\] would be used twice"):
        to_pyg(graph)
    graph.ndata.pop("batch")
    data = to_pyg(graph)
    data.colours = torch.zeros(7)
    with pytest.raises(ConfigError, match=r"'colours' has shape \(7,\), expected 5 rows, or 4 with a name"):
        from_pyg(data)
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(DependencyError, match=r"torch_geometric cannot be imported .* `pip install 'pixgraph\[pyg\]'"):
        to_pyg(graph)


def test_networkx_there_and_back(graph):
    made = to_networkx(graph)
    assert (made.number_of_nodes(), made.number_of_edges()) == (5, 4)
    assert made.number_of_edges(0, 1) == 2
    assert made.edges[3, 1, 0]["kind"] == 4
    assert made.nodes[4]["label"] == 4
    assert dict(made.in_degree()) == dict(enumerate(graph.in_degrees().tolist()))
    assert_same(graph, from_networkx(made))


def test_undirected_networkx_gets_both_directions():
    path = networkx.path_graph(3)
    networkx.set_edge_attributes(path, 0.5, "weight")
    made = from_networkx(path)
    assert sorted(zip(*(x.tolist() for x in made.edges()), strict=True)) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert made.edata["weight"].tolist() == [0.5] * 4


def test_empty_networkx():
    made = from_networkx(networkx.DiGraph())
    assert (made.num_nodes(), made.num_edges()) == (0, 0)
    assert to_networkx(made).number_of_nodes() == 0


def test_networkx_errors():
    with pytest.raises(ConfigError, match=r"nodes are not 0\.\.V-1; call networkx\.convert_node_labels_to_integers"):
        from_networkx(networkx.relabel_nodes(networkx.path_graph(2), {0: 5}))
    uneven = networkx.path_graph(2)
    uneven.nodes[1]["x"] = 1
    with pytest.raises(ConfigError, match=r"node 1 has attributes \['x'\], the first \[\]"):
        from_networkx(uneven)
    named = networkx.path_graph(2)
    networkx.set_node_attributes(named, "red", "colour")
    with pytest.raises(ConfigError, match="a node attribute is not numeric"):
        from_networkx(named)
