"""Both graph types behave alike: data, batches, subgraphs, moves, pickles; and pixgraph runs where DGL is missing."""

import pickle
import subprocess
import sys

import pytest
import torch

from pixgraph.graph import backend
from pixgraph.graph.backend import (
    HAS_DGL,
    batch,
    edge_subgraph,
    incoming,
    is_dgl,
    make_graph,
    outgoing,
    to_device,
    to_edge_graph,
)
from pixgraph.graph.edgegraph import EdgeGraph

SRC = torch.tensor([3, 0, 1, 1, 0])
DST = torch.tensor([1, 1, 3, 1, 4])


@pytest.fixture(params=["dgl", "torch"])
def graph(request):
    """Six nodes, node 5 isolated, one self-loop, data on nodes and edges."""
    if request.param == "dgl" and not HAS_DGL:
        pytest.skip(f"DGL cannot be imported: {backend.DGL_ERROR}")
    made = make_graph(SRC, DST, 6, {"x": torch.arange(12.0).view(6, 2)}, {"e": torch.arange(5)})
    return made if request.param == "dgl" else to_edge_graph(made)


def test_make_graph_prefers_dgl():
    made = make_graph(SRC, DST, 6)
    assert is_dgl(made) == HAS_DGL
    assert isinstance(made, EdgeGraph) != HAS_DGL


def test_structure_and_data(graph):
    assert (graph.num_nodes(), graph.num_edges(), graph.batch_size) == (6, 5, 1)
    assert torch.equal(graph.edges()[0], SRC)
    assert torch.equal(graph.edges()[1], DST)
    assert graph.in_degrees().tolist() == [0, 3, 0, 1, 1, 0]
    assert graph.out_degrees().tolist() == [2, 2, 0, 1, 0, 0]
    assert graph.edata["e"].tolist() == [0, 1, 2, 3, 4]
    assert graph.device == torch.device("cpu")
    assert graph.batch_num_nodes().tolist() == [6]
    assert "x" in graph.ndata
    assert graph.ndata.pop("x").shape == (6, 2)
    assert "x" not in graph.ndata


def test_sorted_edges_agree_with_the_edges(graph):
    for (offsets, other, ids), by, far in ((incoming(graph), DST, SRC), (outgoing(graph), SRC, DST)):
        assert offsets.tolist() == [int((by < v).sum()) for v in range(7)]
        assert torch.equal(by[ids].sort().values, by[ids])
        assert torch.equal(far[ids], other)


def test_local_var_shields_the_data(graph):
    copy = graph.local_var()
    copy.ndata["x"] = torch.zeros(6, 2)
    copy.edata["new"] = torch.zeros(5)
    assert graph.ndata["x"].sum() > 0
    assert "new" not in graph.edata
    assert copy.num_edges() == 5


def test_batch_shifts_ids_and_keeps_counts(graph):
    other = edge_subgraph(graph, torch.tensor([0, 2]))
    joined = batch([graph, other, graph])
    assert joined.batch_size == 3
    assert joined.batch_num_nodes().tolist() == [6, 6, 6]
    assert joined.batch_num_edges().tolist() == [5, 2, 5]
    assert joined.edges()[0].tolist() == [3, 0, 1, 1, 0, 9, 7, 15, 12, 13, 13, 12]
    assert joined.ndata["x"].shape == (18, 2)
    again = batch([joined, graph])
    assert again.batch_num_nodes().tolist() == [6, 6, 6, 6]
    assert type(again) is type(graph)


def test_batch_refuses_unlike_graphs(graph):
    with pytest.raises(ValueError, match="got no graph, expected at least one"):
        batch([])
    bare = make_graph(SRC, DST, 6)
    with pytest.raises(ValueError, match="graphs differ in ndata, edata or device"):
        batch([graph, bare])


def test_edge_subgraph_keeps_nodes_and_data(graph):
    for keep in (torch.tensor([True, False, True, False, True]), torch.tensor([0, 2, 4])):
        part = edge_subgraph(graph, keep)
        assert part.num_nodes() == 6
        assert part.edata["e"].tolist() == [0, 2, 4]
        assert part.edges()[1].tolist() == [1, 3, 4]
        assert torch.equal(part.ndata["x"], graph.ndata["x"])
    assert graph.num_edges() == 5
    assert edge_subgraph(graph, torch.zeros(5, dtype=torch.bool)).num_edges() == 0


def test_edge_subgraph_keeps_the_batch(graph):
    part = edge_subgraph(batch([graph, graph]), torch.tensor([1, 4, 5, 7, 8]))
    assert part.batch_num_nodes().tolist() == [6, 6]
    assert part.batch_num_edges().tolist() == [2, 3]


def test_to_edge_graph_keeps_everything(graph):
    joined = to_edge_graph(batch([graph, graph]))
    assert isinstance(joined, EdgeGraph)
    assert joined.batch_num_edges().tolist() == [5, 5]
    assert joined.edata["e"].tolist() == [0, 1, 2, 3, 4] * 2


def test_moves_and_pickles(graph):
    assert to_device(graph, "cpu").num_edges() == 5
    meta = to_device(graph, "meta")  # a device that DGL does not know, as CUDA is to its CPU wheel
    assert isinstance(meta, EdgeGraph)
    assert meta.ndata["x"].device.type == meta.device.type == "meta"
    again = pickle.loads(pickle.dumps(graph))
    assert again.edges()[0].tolist() == SRC.tolist()
    assert again.edata["e"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_moves_to_cuda(graph):
    moved = to_device(graph, "cuda")
    assert moved.device.type == "cuda"
    assert to_device(moved, "cpu").in_degrees().tolist() == [0, 3, 0, 1, 1, 0]


def test_empty_graphs():
    none = torch.zeros(0, dtype=torch.int64)
    for nodes in (0, 3):
        made = make_graph(none, none, nodes)
        assert made.num_edges() == 0
        assert made.in_degrees().tolist() == [0] * nodes
        assert to_edge_graph(made).incoming()[0].tolist() == [0] * (nodes + 1)


def test_refuses_wrong_tensors():
    with pytest.raises(ValueError, match=r"node ids span 0\.\.4, expected 0\.\.2; check num_nodes"):
        make_graph(SRC, DST, 3)
    with pytest.raises(ValueError, match=r"src \(5,\) on cpu and dst \(4,\)"):
        make_graph(SRC, DST[:4], 6)
    with pytest.raises(ValueError, match=r"node ids are torch\.float32"):
        make_graph(SRC.float(), DST, 6)
    with pytest.raises(ValueError, match=r"node data 'x': got shape \(5,\), expected \(6, \.\.\.\)"):
        make_graph(SRC, DST, 6, {"x": torch.zeros(5)})
    with pytest.raises(ValueError, match=r"edge data 'e': got shape \(6,\)"):
        make_graph(SRC, DST, 6, edata={"e": torch.zeros(6)})
    with pytest.raises(ValueError, match="node data 'x': is on meta, the graph on cpu"):
        make_graph(SRC, DST, 6, {"x": torch.zeros(6, device="meta")})


def test_import_is_silent_and_works_without_dgl():
    code = (
        "import sys\n"
        "if len(sys.argv) > 1: sys.modules['dgl'] = None\n"
        "import torch\n"
        "from pixgraph.graph.backend import HAS_DGL, DGL_ERROR, make_graph\n"
        "from pixgraph.graph.attention import attention_engine, edge_attention\n"
        "g = make_graph(torch.tensor([0]), torch.tensor([1]), 2)\n"
        "x = torch.ones(2, 1, 3)\n"
        "assert edge_attention(g, x, x, x)[1].sum() == 3\n"
        "assert (len(sys.argv) == 1) or (not HAS_DGL and 'dgl' in DGL_ERROR and attention_engine(g) == 'torch')\n"
    )
    for arguments in ([], ["without"]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
