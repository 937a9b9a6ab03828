"""Task graphs where something is missing, mirrored, cut into chunks or built by several threads."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_task import picture, task

from pixgraph.config import GraphConfig
from pixgraph.graph import edges
from pixgraph.graph.backend import incoming, outgoing
from pixgraph.graph.cells import picture_cells
from pixgraph.graph.edge_blocks import EdgeArrays, LatticeEdges, ListedEdges, PartnerEdges, ReadyEdges, written
from pixgraph.graph.edges import EdgeKind, edge_features
from pixgraph.graph.support import support_part
from pixgraph.graph.task import attach_queries, task_graph

NONE = GraphConfig(
    stride=4,
    num_fg=9,
    num_bg=12,
    bg_bg=0,
    fg_fg=0,
    fg_bg=0,
    dilations=[],
    query_support_random=0,
    query_support_knn=0,
)
COUNTS = {
    EdgeKind.BG_BG: {"bg_bg": 2},
    EdgeKind.FG_FG: {"fg_fg": 2},
    EdgeKind.FG_BG: {"fg_bg": 2},
    EdgeKind.LATTICE: {"dilations": [1]},
    EdgeKind.QUERY_SUPPORT_RANDOM: {"query_support_random": 2},
    EdgeKind.QUERY_SUPPORT_KNN: {"query_support_knn": 2},
    EdgeKind.QUERY_QUERY_KNN: {"query_query_knn": 2},
    EdgeKind.UNLABELLED: {"unlabelled_knn": 2},
}
FULL = GraphConfig(
    stride=1, num_fg=40, num_bg=40, dilations=[1, 3], query_support_random=4, query_support_knn=4, both_ways=True
)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.edges(), b.edges(), strict=True)) and all(
        torch.equal(a.edata[name], b.edata[name]) for name in ("feature", "kind")
    )


def test_without_any_edge_all_nodes_are_isolated_and_there():
    graph = task_graph(task(unlabelled=1), NONE)
    assert (graph.num_nodes(), graph.num_edges()) == (63 + 128, 0)
    assert not graph.in_degrees().any()
    assert graph.edata["feature"].shape == (0, 3)
    assert [x.shape for x in incoming(graph)] == [(192,), (0,), (0,)]
    assert [x.shape for x in outgoing(graph)] == [(192,), (0,), (0,)]
    assert torch.isfinite(graph.ndata["rgbxy"]).all()


@pytest.mark.parametrize("kind", list(EdgeKind))
@pytest.mark.parametrize("both_ways", [False, True])
def test_one_kind_of_edge_alone(kind, both_ways):
    config = replace(NONE, both_ways=both_ways, **COUNTS[kind])
    graph = task_graph(task(unlabelled=1), config)
    assert set(graph.edata["kind"].tolist()) == {int(kind)}
    assert torch.isfinite(graph.edata["feature"]).all()
    src, dst = graph.edges()
    found = edge_features(graph.ndata["rgbxy"], graph.ndata["image"], src, dst)
    assert torch.allclose(graph.edata["feature"], found, atol=1e-6)


@pytest.mark.parametrize("kind", list(EdgeKind))
def test_all_kinds_of_edges_but_one(kind):
    every = {key: value for counts in COUNTS.values() for key, value in counts.items()}
    t = task(unlabelled=1)
    whole = task_graph(t, replace(NONE, **every))
    less = task_graph(t, replace(NONE, **{**every, **{key: getattr(NONE, key) for key in COUNTS[kind]}}))
    kinds = set(range(8)) - {int(kind)}
    assert set(less.edata["kind"].tolist()) == kinds
    if kind >= EdgeKind.LATTICE:  # what supports draw follows each other in one stream of random numbers
        left = whole.edata["kind"] < EdgeKind.LATTICE
        assert torch.equal(whole.edges()[0][left], less.edges()[0][less.edata["kind"] < EdgeKind.LATTICE])


def test_without_the_supports_own_edges_the_others_stay():
    part, t = support_part(task().support, replace(FULL, stride=4)), task()
    whole, bare = attach_queries(part, t.query), attach_queries(part, t.query, support_edges=False)
    held = len(part.src)
    assert torch.equal(torch.stack(whole.edges())[:, held:], torch.stack(bare.edges()))
    assert torch.equal(whole.edata["feature"][held:], bare.edata["feature"])


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(["columns", "rows", "turn"]), st.sampled_from([4, 8]), st.integers(0, 5))
def test_a_mirrored_or_turned_query_has_the_same_lattice(how, connectivity, seed):
    move = {"columns": lambda x: x.flip(-1), "rows": lambda x: x.flip(-2), "turn": lambda x: x.rot90(1, (-2, -1))}[how]
    config = replace(NONE, dilations=[1, 2], connectivity=connectivity)
    query = picture(seed, label=False)
    moved = replace(query, rgb=move(query.rgb).contiguous())
    one, other = (task_graph(replace(task(shots=1), query=[q]), config) for q in (query, moved))
    place = torch.empty(64 + 21, dtype=torch.int64)
    place[:21] = torch.arange(21)
    place[21 + move(torch.arange(64).view(8, 8)).reshape(-1)] = torch.arange(64) + 21  # where each node has gone
    src, dst = one.edges()
    expected = {(int(place[a]), int(place[b])): f for a, b, f in zip(src, dst, one.edata["feature"], strict=True)}
    found = dict(zip(zip(*(e.tolist() for e in other.edges()), strict=True), other.edata["feature"], strict=True))
    assert expected.keys() == found.keys()
    assert all(torch.allclose(expected[edge], found[edge], atol=1e-6) for edge in found)


@pytest.mark.parametrize("block", [1, 4])
def test_threads_have_no_influence_where_torch_uses_several(block):
    t, before = task(shots=2, size=96), torch.get_num_threads()
    config, found = replace(FULL, knn_block=block, fg_fg_mode="nearest"), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(task_graph(t, config))
    finally:
        torch.set_num_threads(before)
    assert same(found[0], found[1])
    assert same(found[0], found[2])


def test_chunks_of_edges_have_no_influence(monkeypatch):
    t = task(shots=2)
    whole = task_graph(t, FULL)
    monkeypatch.setattr(edges, "CHUNK", 37)
    assert same(task_graph(t, FULL), whole)


def test_blocks_are_written_one_after_the_other_and_back():
    rgbxy = torch.rand(12, 5, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor
    ready = EdgeArrays(ids([0]), ids([1]), ids([1], dtype=torch.uint8), torch.ones(1, 3))
    blocks = [
        ReadyEdges(ready),
        PartnerEdges(ids([[0, 1], [1, 0]]), 2, ((EdgeKind.QUERY_SUPPORT_KNN, 1), (EdgeKind.QUERY_SUPPORT_RANDOM, 1))),
        ListedEdges(ids([2]), ids([5]), EdgeKind.QUERY_QUERY_KNN),
    ]
    planes = rgbxy.T.contiguous()
    arrays = written(blocks, planes, replace(FULL, both_ways=True))
    assert arrays.src.tolist() == [0, 0, 1, 1, 0, 2, 2, 3, 3, 2]
    assert arrays.dst.tolist() == [1, 2, 2, 3, 3, 0, 1, 1, 0, 5]
    assert arrays.kind.tolist() == [1, 5, 4, 5, 4, 5, 4, 5, 4, 6]
    image = torch.tensor([0, 0, *[1] * 10])
    assert torch.allclose(arrays.feature[1:], edge_features(rgbxy, image, arrays.src[1:], arrays.dst[1:]), atol=1e-6)
    assert len(written([], planes, FULL).src) == 0


def test_a_lattice_says_how_many_edges_it_has_before_it_is_written():
    part = support_part(task(shots=1).support, NONE)
    for sides, dilations, connectivity in (((8, 8), [1, 4], 4), ((8, 8), [3], 8), ((1, 8), [2], 8)):
        rows, columns = sides
        query = replace(picture(9, label=False), rgb=torch.rand(3, rows, columns))
        config = replace(NONE, stride=1, dilations=dilations, connectivity=connectivity)
        graph = attach_queries(replace(part, config=config), [query])
        assert len(LatticeEdges(picture_cells(query, 1, 0, None), config)) == graph.num_edges()
