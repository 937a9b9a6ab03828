from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_task import content, picture, task

from pixgraph.config import GraphConfig
from pixgraph.errors import ConfigError, DataError
from pixgraph.graph import edge_blocks, embedding
from pixgraph.graph import task as task_module
from pixgraph.graph.backend import HAS_DGL, is_dgl
from pixgraph.graph.edgegraph import EdgeGraph
from pixgraph.graph.edges import EdgeKind, edge_features
from pixgraph.graph.embedding import EmbeddingSpace, node_embedding
from pixgraph.graph.lattice import lattice_edges
from pixgraph.graph.support import support_part
from pixgraph.graph.task import attach_queries, task_graph

CONFIG = GraphConfig(
    stride=4, num_fg=9, num_bg=12, dilations=[1, 2], query_support_random=3, query_support_knn=5, query_query_knn=2
)
ALL = replace(CONFIG, unlabelled_knn=3)


def identical(a, b):
    return (
        all(torch.equal(x, y) for x, y in zip(a.edges(), b.edges(), strict=True))
        and all(torch.equal(a.ndata[n], b.ndata[n]) for n in ("rgbxy", "image", "role", "label"))
        and all(torch.equal(a.edata[n], b.edata[n]) for n in ("feature", "kind"))
    )


def of_kind(graph, kind):
    src, dst = graph.edges()
    chosen = graph.edata["kind"] == kind
    return src[chosen], dst[chosen]


def test_nodes_and_their_order():
    t = task(shots=2, queries=2, unlabelled=1)
    graph = task_graph(t, ALL)
    assert graph.num_nodes() == 2 * 21 + 3 * 64
    assert graph.ndata["image"].tolist() == [0] * 21 + [1] * 21 + [2] * 64 + [3] * 64 + [4] * 64
    assert graph.ndata["role"].tolist() == [0] * 42 + [1] * 128 + [2] * 64
    assert (graph.ndata["label"][42:] == 255).all()
    assert set(graph.ndata["label"][:42].tolist()) == {0, 1}
    dtypes = {n: graph.ndata[n].dtype for n in ("rgbxy", "image", "role", "label")}
    assert dtypes == {"rgbxy": torch.float32, "image": torch.int64, "role": torch.uint8, "label": torch.int64}
    assert (graph.edata["feature"].dtype, graph.edata["kind"].dtype) == (torch.float32, torch.uint8)


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_cells_are_means_at_centres(stride):
    t = task()
    graph = task_graph(t, replace(CONFIG, stride=stride, query_query_knn=0))
    nodes = graph.ndata["rgbxy"][21 * 3 :]
    n = 32 // stride
    for i in range(0, n * n, 5):
        r, c = divmod(i, n)
        patch = t.query[0].rgb[:, r * stride : (r + 1) * stride, c * stride : (c + 1) * stride]
        centre = [(c * stride + (stride - 1) / 2) / 31, (r * stride + (stride - 1) / 2) / 31]
        assert torch.allclose(nodes[i], torch.tensor([*patch.mean((1, 2)).tolist(), *centre]), atol=1e-6)


def test_query_labels_have_no_influence():
    t = task(queries=2, unlabelled=1)
    reference = task_graph(t, ALL, 3)
    rng = np.random.default_rng(0)
    shuffled = [
        replace(p, label=torch.from_numpy(rng.permutation(p.label.numpy().ravel()).reshape(32, 32))) for p in t.query
    ]
    assert identical(task_graph(replace(t, query=shuffled), ALL, 3), reference)
    without = replace(t, query=[replace(p, label=None) for p in t.query])
    assert identical(task_graph(without, ALL, 3), reference)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_have_no_influence(threads):
    t, before = task(unlabelled=1), torch.get_num_threads()
    reference = task_graph(t, ALL)
    torch.set_num_threads(threads)
    try:
        assert identical(task_graph(t, ALL), reference)
    finally:
        torch.set_num_threads(before)


def test_order_of_supports_and_numbers_of_classes_do_not_matter():
    t = task(n_way=2, unlabelled=1)
    pictures = [*t.support, *t.query, *t.unlabelled]
    reference = content(task_graph(t, ALL), pictures)
    turned = replace(t, support=t.support[::-1])
    assert content(task_graph(turned, ALL), [*turned.support, *t.query, *t.unlabelled]) == reference
    swap = torch.arange(256)
    swap[1], swap[2] = 2, 1
    swapped = replace(t, support=[replace(p, label=swap[p.label]) for p in t.support])
    assert content(task_graph(swapped, ALL), pictures, {1: 2, 2: 1}) == reference


def test_no_self_loop_no_duplicate_features_everywhere():
    for both_ways in (False, True):
        graph = task_graph(task(queries=2, unlabelled=2), replace(ALL, both_ways=both_ways))
        src, dst = graph.edges()
        assert not (src == dst).any()
        code = src * graph.num_nodes() + dst
        assert len(code.unique()) == len(code)
        assert torch.allclose(
            graph.edata["feature"], edge_features(graph.ndata["rgbxy"], graph.ndata["image"], src, dst), atol=1e-6
        )
        role = graph.ndata["role"]
        assert ((role[src] > 0) & (role[dst] == 0)).any() == both_ways


def test_lattice_of_each_picture():
    graph = task_graph(task(shots=1, queries=2), CONFIG)
    src, dst = (e.view(2, -1) for e in of_kind(graph, EdgeKind.LATTICE))
    expected = lattice_edges(8, 8, CONFIG.dilations)
    for i in range(2):
        assert torch.equal(src[i], expected[0] + 21 + 64 * i)
        assert torch.equal(dst[i], expected[1] + 21 + 64 * i)


@pytest.mark.parametrize("color", ["mean_abs", "ciede2000"])
def test_small_lattices_are_kept_and_no_graph_shares_them(color, monkeypatch):
    some, config = task(shots=1, queries=2), replace(CONFIG, color=color, connectivity=8)
    first = task_graph(some, config)
    first.edata["feature"].fill_(-1)
    again = task_graph(some, config)
    monkeypatch.setattr(edge_blocks, "KEPT", 0)  # large ones are written anew
    written = task_graph(some, config)
    torch.testing.assert_close(again.edata["feature"], written.edata["feature"], atol=1e-6, rtol=0)
    again.edata["feature"] = written.edata["feature"]
    assert identical(again, written)


def test_support_edges_are_brute_force_nearest_and_distinct_random():
    t = task()
    graph = task_graph(t, CONFIG)
    image, xy = graph.ndata["image"], graph.ndata["rgbxy"][:, 3:]
    vectors = torch.cat([node_embedding(p, xy[image == i]) for i, p in enumerate([*t.support, *t.query])])
    similarity = vectors[63:] @ vectors[:63].T  # (64, 63)
    src, dst = of_kind(graph, EdgeKind.QUERY_SUPPORT_KNN)
    src, dst = src.view(64, 5), dst.view(64, 5)
    assert torch.equal(dst, torch.arange(63, 127)[:, None].expand(64, 5))
    assert torch.allclose(similarity.gather(1, src), similarity.topk(5, dim=1).values, atol=1e-5)
    drawn, ends = of_kind(graph, EdgeKind.QUERY_SUPPORT_RANDOM)
    assert torch.equal(ends.bincount(minlength=127)[63:], torch.full((64,), 3))
    together = torch.cat([src, drawn.view(64, 3)], dim=1).sort(dim=1).values
    assert (together.diff(dim=1) > 0).all()
    assert (together < 63).all()


def test_random_partners_cover_the_support():
    graph = task_graph(task(), replace(CONFIG, stride=1, query_query_knn=0, query_support_knn=0))
    hits = of_kind(graph, EdgeKind.QUERY_SUPPORT_RANDOM)[0].bincount(minlength=63)[:63]
    assert abs(hits.float() - 1024 * 3 / 63).max() < 35  # standard deviation 7


def test_query_neighbours_are_brute_force_without_the_lattice():
    t = task(shots=1)
    graph = task_graph(t, CONFIG)
    vectors = node_embedding(t.query[0], graph.ndata["rgbxy"][21:, 3:])
    similarity = vectors @ vectors.T
    similarity.fill_diagonal_(-2)
    similarity[lattice_edges(8, 8, CONFIG.dilations)] = -2
    src, dst = of_kind(graph, EdgeKind.QUERY_QUERY_KNN)
    assert torch.equal(dst.view(64, 2) - 21, torch.arange(64)[:, None].expand(64, 2))
    assert torch.allclose(similarity.gather(1, src.view(64, 2) - 21), similarity.topk(2, dim=1).values, atol=1e-5)


def test_unlabelled_neighbours_are_brute_force():
    t = task(shots=1, unlabelled=2)
    graph = task_graph(t, ALL)
    xy = graph.ndata["rgbxy"][21:85, 3:]
    query, *others = (node_embedding(p, xy) for p in [*t.query, *t.unlabelled])
    similarity = query @ torch.cat(others).T
    src, dst = of_kind(graph, EdgeKind.UNLABELLED)
    assert torch.equal(dst.view(64, 3) - 21, torch.arange(64)[:, None].expand(64, 3))
    assert torch.allclose(similarity.gather(1, src.view(64, 3) - 85), similarity.topk(3, dim=1).values, atol=1e-5)
    assert len(of_kind(task_graph(t, CONFIG), EdgeKind.UNLABELLED)[0]) == 0


def test_more_neighbours_than_nodes():
    config = replace(
        CONFIG,
        num_fg=2,
        num_bg=3,
        query_support_knn=99,
        query_support_random=99,
        query_query_knn=999,
        unlabelled_knn=999,
    )
    graph = task_graph(task(shots=1, unlabelled=1), config)
    counts = torch.bincount(graph.edata["kind"].long(), minlength=8)
    assert counts[EdgeKind.QUERY_SUPPORT_KNN] == 128 * 5
    assert counts[EdgeKind.QUERY_SUPPORT_RANDOM] == 0
    assert counts[EdgeKind.QUERY_QUERY_KNN] + counts[EdgeKind.LATTICE] // 2 == 64 * 63
    assert counts[EdgeKind.UNLABELLED] == 64 * 64


def test_the_support_part_is_reused_and_queries_are_independent():
    t = task(queries=2)
    part = support_part(t.support, CONFIG, 7)
    whole = task_graph(t, CONFIG, 7)
    assert identical(attach_queries(part, t.query), whole)
    alone = [content(attach_queries(part, [q]), [*t.support, q]) for q in t.query]
    _, edges = content(whole, [*t.support, *t.query])
    assert sorted({*alone[0][1], *alone[1][1]}) == sorted(set(edges))
    assert not identical(task_graph(t, CONFIG, 8), whole)


def test_flat_pictures_and_identical_ones():
    flat = replace(picture(0), rgb=torch.full((3, 32, 32), 0.5), features=[torch.zeros(6, 8, 8), torch.ones(10, 4, 4)])
    t = replace(task(), support=[flat, flat], query=[flat])
    graph = task_graph(t, CONFIG)
    assert torch.isfinite(graph.edata["feature"]).all()
    assert identical(graph, task_graph(t, CONFIG))


def test_own_embedding():
    t = task()
    constant = replace(CONFIG, query_query_knn=0)
    by_place = task_graph(t, constant, embedding=lambda p, xy: torch.cat([xy, torch.ones(len(xy), 1)], dim=1))
    src, dst = of_kind(by_place, EdgeKind.QUERY_SUPPORT_KNN)
    xy = by_place.ndata["rgbxy"][:, 3:]
    unit = torch.nn.functional.normalize(torch.cat([xy, torch.ones(len(xy), 1)], dim=1), dim=1)
    best = (unit[63:] @ unit[:63].T).topk(5, dim=1).values
    assert torch.allclose((unit[src] * unit[dst]).sum(1).view(64, 5), best, atol=1e-5)


def test_projection_keeps_the_inner_products_that_matter(monkeypatch):
    t = task(shots=2)
    wide = [replace(p, features=[torch.randn(90, 8, 8), torch.randn(40, 4, 4)]) for p in [*t.support, *t.query]]
    xy = torch.rand(50, 2)
    vectors = torch.cat([node_embedding(p, xy) for p in wide[:2]])  # (100, 130)
    monkeypatch.setattr(embedding, "REDUCED", 100)
    space = EmbeddingSpace.fit(vectors, None)
    assert space.vectors.shape == (100, 100)
    assert torch.allclose(space.basis.T @ space.basis, torch.eye(100), atol=1e-4)
    assert torch.allclose(space.vectors @ space.vectors.T, vectors @ vectors.T, atol=1e-3)
    centres = (torch.arange(8) * 4 + 1.5) / 31
    grid = torch.stack([centres.repeat(8), centres.repeat_interleave(8)], dim=1)
    got = torch.nn.functional.normalize(space.grid(wide[2], 8, 8, grid), dim=1)
    expected = torch.nn.functional.normalize(node_embedding(wide[2], grid) @ space.basis, dim=1)
    assert torch.allclose(got, expected, atol=1e-4)
    assert space.grid(wide[2], 16, 16, grid).shape == (256, 100)


def test_bad_input():
    t = task()
    with pytest.raises(
        ConfigError, match=r"graph.stride: got 5 for pictures of 32 x 32, expected a divisor of both sides"
    ):
        task_graph(t, replace(CONFIG, stride=5))
    with pytest.raises(ConfigError, match="dilations: got 8 on a grid of 8 x 8 nodes"):
        task_graph(t, replace(CONFIG, dilations=[8]))
    with pytest.raises(DataError, match="task graph: got no query picture"):
        task_graph(replace(t, query=[]), CONFIG)
    with pytest.raises(DataError, match="support: 0 pictures give no node"):
        task_graph(replace(t, support=[]), CONFIG)
    bad = picture(100)
    bad.rgb[0, 3, 3] = torch.nan
    with pytest.raises(DataError, match="picture 'p100': got NaN or infinite colours"):
        task_graph(replace(t, query=[bad]), CONFIG)
    bad = picture(100)
    bad.features[1][0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="embedding of picture 'p100': got NaN"):
        task_graph(replace(t, query=[bad]), CONFIG)


@pytest.mark.skipif(not HAS_DGL, reason="DGL cannot be imported")
def test_a_graph_for_one_answer_is_a_plain_one_unless_dgl_is_asked_for(monkeypatch):
    t = task(shots=2)
    part = support_part(t.support, CONFIG)
    assert isinstance(attach_queries(part, t.query, support_edges=False), EdgeGraph)
    assert is_dgl(attach_queries(part, t.query))
    monkeypatch.setenv("PIXGRAPH_ENGINE", "dgl")
    assert is_dgl(attach_queries(part, t.query, support_edges=False))


@pytest.mark.skipif(not HAS_DGL, reason="DGL cannot be imported")
def test_dgl_sorts_the_edges_of_a_large_graph(monkeypatch):
    t = task(shots=2)
    monkeypatch.setattr(task_module, "LARGEST", 10)
    assert is_dgl(attach_queries(support_part(t.support, CONFIG), t.query, support_edges=False))
