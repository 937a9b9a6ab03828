"""What the speed of graph construction is compared with builds the same graphs."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pixgraph.graph.edges import EdgeKind


@pytest.fixture(scope="module")
def modules():
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("graph_cases"), importlib.import_module("graph_peers")
    finally:
        sys.path.remove(folder)


def records(src, dst, feature):
    """Edges with their features, sorted."""
    order = np.lexsort((np.asarray(src), np.asarray(dst)))
    return np.asarray(src)[order], np.asarray(dst)[order], np.asarray(feature)[order]


def same(a, b):
    one, other = records(*a), records(*b)
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])
    assert np.allclose(one[2], other[2], atol=1e-6)


def parts_of(graph, chosen=slice(None)):
    src, dst = graph.edges()
    return src[chosen], dst[chosen], graph.edata["feature"][chosen]


@pytest.fixture(scope="module")
def built(modules):
    """Scene of 16 x 16 nodes with 4 random and 3 nearest partners, and pixgraph's graph."""
    cases, _ = modules
    scene = cases.Scene(cases.Case(16, (1, 2), drawn=4, nearest=3, shots=2))
    return scene, cases.pixgraph_builder(scene)(scene.pictures[0])


def test_numpy_and_dgl_give_the_same_edges_and_as_many_random_ones(modules, built):
    scene, ours = built
    theirs = modules[1].numpy_dgl_builder(scene)(scene.pictures[0])
    drawn = [g.edata["kind"] == EdgeKind.QUERY_SUPPORT_RANDOM for g in (ours, theirs)]
    same(parts_of(ours, ~drawn[0]), parts_of(theirs, ~drawn[1]))
    ends = [g.edges()[1][d].sort().values for g, d in zip((ours, theirs), drawn, strict=True)]
    assert torch.equal(*ends)
    for name in ("rgbxy", "image"):
        assert torch.allclose(ours.ndata[name].float(), theirs.ndata[name].float(), atol=1e-6)
    assert torch.equal(ours.edata["kind"].sort().values, theirs.edata["kind"].sort().values)


def test_the_whole_task_is_the_same_graph(modules, built):
    scene, ours = built
    whole = modules[0].whole_task_builder(scene)(scene.pictures[0])
    assert torch.equal(torch.stack(whole.edges()), torch.stack(ours.edges()))


def test_pyg_gives_the_same_edges_and_as_many_random_ones(modules):
    pytest.importorskip("torch_geometric")
    cases, peers = modules
    scene = cases.Scene(cases.Case(16, (1, 2), drawn=4, shots=2))
    ours, theirs = (make(scene)(scene.pictures[0]) for make in (cases.pixgraph_builder, peers.pyg_builder))
    src, dst = theirs.edge_index
    first = len(scene.part.label)
    fixed = (src >= first) | (dst < first)
    same(
        parts_of(ours, ours.edata["kind"] != EdgeKind.QUERY_SUPPORT_RANDOM),
        (src[fixed], dst[fixed], theirs.edge_attr[fixed]),
    )
    assert torch.equal(dst[~fixed].bincount(minlength=first + 256)[first:], torch.full((256,), 4))
    assert torch.allclose(theirs.x, ours.ndata["rgbxy"], atol=1e-6)


def test_loops_give_the_same_edges_and_as_many_random_ones(modules):
    cases, peers = modules
    scene = cases.Scene(cases.Case(12, (1, 2), drawn=4, shots=2))
    graph = cases.pixgraph_builder(scene)(scene.pictures[0])
    (src, dst), feature = peers.loop_builder(scene)(scene.pictures[0])
    lattice = src >= len(scene.part.label)
    same(parts_of(graph, graph.edata["kind"] == EdgeKind.LATTICE), (src[lattice], dst[lattice], feature[lattice]))
    assert int((~lattice).sum()) == 12 * 12 * 4


@pytest.mark.parametrize("name", ["networkx_builder", "rag_builder"])
def test_undirected_graphs_are_the_bare_lattice(modules, name):
    cases, peers = modules
    scene = cases.Scene(cases.Case(12, (1,), drawn=0, shots=0))
    ours = cases.pixgraph_builder(scene)(scene.pictures[0])
    theirs = getattr(peers, name)(scene)(scene.pictures[0])
    src, dst, feature = [], [], []
    for a, b, data in theirs.edges(data=True):
        one, other = (x[0] * 12 + x[1] if isinstance(x, tuple) else x for x in (a, b))
        src += [one, other]
        dst += [other, one]
        feature += [data["feature"]] * 2
    first = len(scene.part.label)
    same(parts_of(ours), (np.array(src) + first, np.array(dst) + first, np.array(feature)))
