from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_task import content, picture

from pixgraph.config import GraphConfig
from pixgraph.errors import ConfigError, DataError
from pixgraph.graph.edges import EdgeKind, edge_features
from pixgraph.graph.embedding import node_embedding
from pixgraph.graph.partners import draw_distinct, skip, split_counts
from pixgraph.graph.support import support_graph, support_part

CONFIG = GraphConfig(num_fg=9, num_bg=12, fg_fg_mode="random")


def pictures(n=3, n_way=1):
    return [picture(i, n_way=n_way) for i in range(n)]


def triples(graph):
    return list(zip(*(e.tolist() for e in graph.edges()), graph.edata["kind"].tolist(), strict=True))


@pytest.mark.parametrize("mode", ["random", "nearest"])
@pytest.mark.parametrize("shots", [1, 3])
def test_no_self_loop_no_duplicate_both_ways_right_ends(mode, shots):
    graph = support_graph(pictures(shots), replace(CONFIG, fg_fg_mode=mode))
    edges = triples(graph)
    assert len(set(edges)) == len(edges) == len({e[:2] for e in edges})
    assert {(b, a, k) for a, b, k in edges} == set(edges)
    foreground = graph.ndata["label"] > 0
    ends = {EdgeKind.BG_BG: 0, EdgeKind.FG_BG: 1, EdgeKind.FG_FG: 2}
    assert all(a != b and int(foreground[a]) + int(foreground[b]) == ends[k] for a, b, k in edges)
    assert {k for *_, k in edges} == {0, 1, 2}
    src, dst = graph.edges()
    assert torch.equal(graph.edata["feature"], edge_features(graph.ndata["rgbxy"], graph.ndata["image"], src, dst))


def test_nodes_carry_their_pixels():
    supports = pictures(2)
    graph = support_graph(supports, CONFIG)
    assert graph.num_nodes() == 2 * 21
    at = (graph.ndata["rgbxy"][:, 3:] * 31).round().long()
    for i, (x, y) in enumerate(at.tolist()):
        p = supports[int(graph.ndata["image"][i])]
        assert torch.equal(p.rgb[:, y, x], graph.ndata["rgbxy"][i, :3])
        assert p.label[y, x] == graph.ndata["label"][i]
    assert (graph.ndata["role"] == 0).all()


@pytest.mark.parametrize(("ratio", "intra"), [(0.0, 0), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_counts_and_intra_share(ratio, intra):
    config = replace(CONFIG, bg_bg=0, fg_fg=0, fg_bg=4, intra_ratio=ratio)
    graph = support_graph(pictures(3), config)
    src, dst = graph.edges()
    image, foreground = graph.ndata["image"], graph.ndata["label"] > 0
    from_bg = ~foreground[src]  # each foreground node drew 4 partners, none twice, so it hears exactly these
    same = image[src] == image[dst]
    for node in foreground.nonzero().ravel().tolist():
        mine = from_bg & (dst == node)
        assert mine.sum() == 4
        assert (mine & same).sum() == intra


def test_each_kind_has_its_own_share():
    config = replace(CONFIG, bg_bg_intra=1.0, fg_fg_intra=0.0, fg_bg_intra=0.5)
    graph = support_graph(pictures(3), config)
    src, dst = graph.edges()
    same, kind = graph.ndata["image"][src] == graph.ndata["image"][dst], graph.edata["kind"]
    assert same[kind == EdgeKind.BG_BG].all()
    assert not same[kind == EdgeKind.FG_FG].any()
    assert same[kind == EdgeKind.FG_BG].float().mean() == 0.5


def test_one_picture_keeps_the_number_of_edges():
    graph = support_graph(pictures(1), replace(CONFIG, bg_bg=0, fg_fg=0, intra_ratio=0.0))
    assert graph.num_edges() == 2 * 9 * 4


def test_more_partners_than_nodes_joins_everything_once():
    config = replace(CONFIG, bg_bg=99, fg_fg=99, fg_bg=99)
    for mode in ("random", "nearest"):
        graph = support_graph(pictures(2), replace(config, fg_fg_mode=mode))
        assert graph.num_edges() == 42 * 41


def test_nearest_foreground_is_brute_force():
    supports = pictures(3)
    config = replace(CONFIG, bg_bg=0, fg_bg=0, fg_fg=3, fg_fg_mode="nearest", intra_ratio=0.34)
    graph = support_graph(supports, config)
    image, xy = graph.ndata["image"], graph.ndata["rgbxy"][:, 3:]
    vectors = torch.cat([node_embedding(p, xy[image == i]) for i, p in enumerate(supports)])
    foreground = (graph.ndata["label"] > 0).nonzero().ravel().tolist()
    expected = set()
    for a in foreground:
        ranked = sorted((b for b in foreground if b != a), key=lambda b: -float(vectors[a] @ vectors[b]))
        own = [b for b in ranked if image[a] == image[b]][:1]
        other = [b for b in ranked if image[a] != image[b]][:2]
        expected |= {(a, b) for b in own + other} | {(b, a) for b in own + other}
    assert {(a, b) for a, b, _ in triples(graph)} == expected


@pytest.mark.parametrize("mode", ["random", "nearest"])
def test_order_of_supports_and_numbers_of_classes_do_not_matter(mode):
    config = replace(CONFIG, fg_fg_mode=mode)
    supports = pictures(3, n_way=2)
    reference = content(support_graph(supports, config), supports)
    turned = [supports[2], supports[0], supports[1]]
    assert content(support_graph(turned, config), turned) == reference
    swap = torch.arange(256)
    swap[1], swap[2] = 2, 1
    swapped = [replace(p, label=swap[p.label]) for p in supports]
    assert content(support_graph(swapped, config), swapped, {1: 2, 2: 1}) == reference


def test_the_same_picture_twice_and_flat_pictures():
    twin = [picture(0), picture(0), picture(1)]
    reference = content(support_graph(twin, CONFIG), twin)
    assert content(support_graph(twin[::-1], CONFIG), twin[::-1]) == reference
    flat = [replace(p, rgb=torch.zeros(3, 32, 32), features=[torch.ones_like(f) for f in p.features]) for p in twin]
    graph = support_graph(flat, replace(CONFIG, fg_fg_mode="nearest"))
    assert len({e[:2] for e in triples(graph)}) == graph.num_edges()


def test_seeds_differ_and_repeat():
    def edges(seed):
        return triples(support_graph(pictures(2), CONFIG, seed))

    assert edges(0) == edges(0) != edges(1)


def test_masks_that_are_empty_of_one_pixel_or_unknown():
    empty = replace(picture(0), label=torch.zeros(32, 32, dtype=torch.int64))
    graph = support_graph([empty], CONFIG)
    assert graph.num_nodes() == 12
    assert set(graph.edata["kind"].tolist()) == {0}
    one = empty.label.clone()
    one[4, 5] = 1
    for mode in ("random", "nearest"):
        part = support_part([replace(empty, label=one), empty], replace(CONFIG, fg_fg_mode=mode))
        assert part.shortfall == ({0: 0, 1: 8}, {0: 0})
        assert int((part.label == 1).sum()) == 1
    assert "SupportPart(pictures=2, nodes=25" in repr(part)
    unknown = replace(empty, label=torch.full((32, 32), 255))
    assert support_graph([unknown, empty], CONFIG).num_nodes() == 12
    with pytest.raises(DataError, match="support: 1 pictures give no node, expected labelled pixels; mark some"):
        support_graph([unknown], CONFIG)
    with pytest.raises(DataError, match="support picture 'p0' has no label; give it a mask"):
        support_graph([replace(empty, label=None)], CONFIG)


def test_not_a_number_is_refused():
    bad = picture(0)
    bad.rgb[:] = torch.nan
    with pytest.raises(DataError, match="picture 'p0': got NaN or infinite colours"):
        support_graph([bad], CONFIG)
    bad = picture(0)
    bad.features[0][:] = torch.inf
    with pytest.raises(DataError, match="embedding of the supports: got NaN or infinite values"):
        support_graph([bad], CONFIG)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bg_bg": -1}, "graph.bg_bg: got -1, expected a count of 0 or more"),
        ({"stride": 0}, "graph.stride: got 0, expected 1"),
        ({"intra_ratio": 1.5}, r"graph.intra_ratio: got 1.5, expected a share in 0..1"),
        ({"fg_bg_intra": -0.1}, "graph.fg_bg_intra: got -0.1"),
        ({"sampling": "grid"}, "graph.sampling: got 'grid', expected one of uniform, boundary, farthest"),
        ({"color": "hsv"}, "graph.color: got 'hsv'"),
        ({"fg_fg_mode": "far"}, "graph.fg_fg_mode: got 'far', expected one of random, nearest"),
    ],
)
def test_settings_out_of_range(change, words):
    with pytest.raises(ConfigError, match=words):
        support_graph(pictures(1), replace(CONFIG, **change))


def test_draws_are_distinct_uniform_and_padded():
    rng = np.random.default_rng(0)
    pool, count = np.array([5, 2, 0, 9]), np.array([3, 4, 2, 0])
    drawn = draw_distinct(rng, pool, count, 4)
    assert drawn.shape == (4, 4)
    for row, p, c in zip(drawn, pool, count, strict=True):
        used = row[: min(p, c)]
        assert len(set(used)) == len(used)
        assert ((used >= 0) & (used < p)).all()
        assert (row[min(p, c) :] == -1).all()
    many = draw_distinct(rng, 6, 3, 20_000)
    assert np.allclose(np.bincount(many.ravel(), minlength=6) / 20_000, 0.5, atol=0.02)
    subsets = np.unique((1 << many).sum(axis=1), return_counts=True)[1]
    assert len(subsets) == 20
    assert np.allclose(subsets / 20_000, 1 / 20, atol=0.01)


def test_skip_leaves_the_excluded_out():
    excluded = np.array([[4, 0, 2]])
    assert skip(np.array([[0, 1, 2, -1]]), excluded).tolist() == [[1, 3, 5, -1]]
    assert skip(np.array([[0, 1]]), np.empty((1, 0), dtype=np.int64)).tolist() == [[0, 1]]


def test_split_makes_up_for_what_is_missing():
    intra, inter = split_counts(4, 0.5, np.array([9, 1, 9, 1, 0]), np.array([9, 9, 0, 1, 0]))
    assert intra.tolist() == [2, 1, 4, 1, 0]
    assert inter.tolist() == [2, 3, 0, 1, 0]
