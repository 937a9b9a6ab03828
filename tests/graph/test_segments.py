"""Task graphs whose nodes are segments."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_task import content, picture, smooth, smooth_task

from pixgraph.config import Config, GraphConfig
from pixgraph.config_check import check
from pixgraph.errors import ConfigError, DataError
from pixgraph.graph.edges import EdgeKind, edge_features
from pixgraph.graph.embedding import EmbeddingSpace
from pixgraph.graph.segment_map import segment_map
from pixgraph.graph.segments import segment_nodes, segment_vectors, touching
from pixgraph.graph.support import support_part
from pixgraph.graph.task import attach_queries, task_graph

CONFIG = GraphConfig(
    nodes="segments",
    segments=30,
    query_support_random=3,
    query_support_knn=5,
    query_query_knn=2,
    unlabelled_knn=3,
)


def identical(a, b):
    return (
        all(torch.equal(x, y) for x, y in zip(a.edges(), b.edges(), strict=True))
        and all(torch.equal(a.ndata[n], b.ndata[n]) for n in ("rgbxy", "image", "role", "label", "segments"))
        and all(torch.equal(a.edata[n], b.edata[n]) for n in ("feature", "kind"))
    )


def test_nodes_are_the_segments_of_all_pictures_in_order():
    t = smooth_task(shots=2, queries=2, unlabelled=1)
    graph = task_graph(t, CONFIG)
    counts = torch.bincount(graph.ndata["image"]).tolist()
    assert counts[2:] == [len(segment_map(p, 30)) for p in (*t.query, *t.unlabelled)]
    first = sum(counts[:2])
    assert graph.ndata["role"].tolist() == [0] * first + [1] * sum(counts[2:4]) + [2] * counts[4]
    assert set(graph.ndata["label"][:first].tolist()) == {0, 1}
    assert (graph.ndata["label"][first:] == 255).all()
    assert (graph.ndata["segments"] == 30).all()
    dtypes = {n: graph.ndata[n].dtype for n in ("rgbxy", "image", "role", "label")}
    assert dtypes == {"rgbxy": torch.float32, "image": torch.int64, "role": torch.uint8, "label": torch.int64}
    assert (graph.edata["feature"].dtype, graph.edata["kind"].dtype) == (torch.float32, torch.uint8)


def test_edges_are_distinct_and_described_as_everywhere():
    graph = task_graph(smooth_task(shots=2, queries=1, unlabelled=1), CONFIG)
    src, dst = graph.edges()
    assert (src != dst).all()
    # A nearest and a random partner, or a segment alike and a neighbour, never are the same.
    assert len(set(zip(src.tolist(), dst.tolist(), strict=True))) == len(src)
    expected = edge_features(graph.ndata["rgbxy"], graph.ndata["image"], src, dst)
    torch.testing.assert_close(graph.edata["feature"], expected)


def test_neighbours_are_those_of_the_region_adjacency_graph():
    t = smooth_task(shots=2, queries=1)
    graph = task_graph(t, CONFIG)
    src, dst = graph.edges()
    own = (graph.edata["kind"] == EdgeKind.LATTICE) & (dst >= int((graph.ndata["role"] == 0).sum()))
    first = int((graph.ndata["role"] == 0).sum())
    expected = torch.stack(touching(segment_map(t.query[0], 30))) + first
    assert torch.equal(torch.stack([src[own], dst[own]]), expected)


def test_supports_are_joined_by_label_and_by_neighbourhood():
    part = support_part(smooth_task(shots=2).support, CONFIG)
    count = torch.bincount(part.kind.long(), minlength=4)
    assert (count[:4] > 0).all()
    pairs = set(zip(part.src.tolist(), part.dst.tolist(), strict=True))
    assert {(b, a) for a, b in pairs} == pairs
    lattice = part.kind == EdgeKind.LATTICE
    assert (part.image[part.src[lattice]] == part.image[part.dst[lattice]]).all()


def test_vectors_are_means_of_the_unit_levels():
    some = smooth(picture(3))
    cut = segment_map(some, 30)
    whole = torch.cat([cut.pool(F.normalize(f, dim=0)) for f in some.features], 1)
    torch.testing.assert_close(segment_vectors(some, cut), F.normalize(whole, dim=1))
    torch.testing.assert_close(segment_vectors(some, cut, level=1), F.normalize(whole[:, 6:], dim=1))
    basis = torch.linalg.qr(torch.randn(16, 4)).Q
    torch.testing.assert_close(segment_vectors(some, cut, basis=basis), whole @ basis)
    space = EmbeddingSpace(torch.empty(0, 4), basis, None)
    torch.testing.assert_close(segment_nodes(some, CONFIG, 0, space).vectors, whole @ basis)


def test_nearest_partners_are_the_nearest():
    t = smooth_task(shots=2, queries=1)
    graph = task_graph(t, CONFIG)
    supports = torch.cat([segment_vectors(p, segment_map(p, 30)) for p in t.support])
    cut = segment_map(t.query[0], 30)
    similarity = segment_vectors(t.query[0], cut) @ supports.T
    src, dst = graph.edges()
    kind = graph.edata["kind"]
    first = int((graph.ndata["role"] == 0).sum())
    assert first == len(supports)  # every segment holds a labelled pixel, and every label wins one
    for i in range(len(cut)):
        found = src[(kind == EdgeKind.QUERY_SUPPORT_KNN) & (dst == first + i)]
        torch.testing.assert_close(similarity[i, found].sort().values, similarity[i].sort().values[-5:])
    alike = (kind == EdgeKind.QUERY_QUERY_KNN) & (dst >= first) & (dst < first + len(cut))
    heard = torch.bincount(dst[alike] - first, minlength=len(cut))
    joined = torch.bincount(touching(cut)[1], minlength=len(cut))
    assert torch.equal(heard, (len(cut) - 1 - joined).clamp_max(2))


def test_query_labels_have_no_influence():
    t = smooth_task(queries=2, unlabelled=1)
    reference = task_graph(t, CONFIG, 3)
    rng = np.random.default_rng(0)
    shuffled = [
        replace(p, label=torch.from_numpy(rng.permutation(p.label.numpy().ravel()).reshape(32, 32))) for p in t.query
    ]
    assert identical(task_graph(replace(t, query=shuffled), CONFIG, 3), reference)
    assert identical(task_graph(replace(t, query=[replace(p, label=None) for p in t.query]), CONFIG, 3), reference)


def test_order_of_the_supports_renumbers_and_nothing_else():
    t = smooth_task(shots=3, unlabelled=1)
    reference = content(task_graph(t, CONFIG, 2), [*t.support, *t.query, *t.unlabelled])
    turned = replace(t, support=t.support[::-1])
    assert content(task_graph(turned, CONFIG, 2), [*turned.support, *t.query, *t.unlabelled]) == reference


def test_permuting_the_classes_relabels_and_nothing_else():
    t = smooth_task(shots=2, n_way=3)
    table = torch.arange(256)
    table[1:4] = torch.tensor([3, 1, 2])
    renamed = replace(t, support=[replace(p, label=table[p.label]) for p in t.support])
    pictures = [*t.support, *t.query]
    expected = content(task_graph(t, CONFIG, 2), pictures, {1: 3, 2: 1, 3: 2})
    assert content(task_graph(renamed, CONFIG, 2), pictures) == expected


def test_queries_may_be_attached_one_at_a_time():
    t = smooth_task(queries=2)
    part = support_part(t.support, CONFIG)
    together, alone = attach_queries(part, t.query), attach_queries(part, t.query[1:])
    both = [content(g, [*t.support, *q]) for g, q in ((together, t.query), (alone, t.query[1:]))]
    assert set(map(repr, both[1][1])) <= set(map(repr, both[0][1]))


def test_small_classes_and_unlabelled_pixels():
    some = smooth(picture(5))
    label = torch.full((32, 32), 254)
    label[3, 4], label[20, 21] = 1, 0  # two clicks
    part = support_part([replace(some, label=label)], CONFIG)
    assert part.label.tolist() in ([0, 1], [1, 0])
    label = torch.zeros(32, 32, dtype=torch.int64)
    label[7, 7] = 2  # one pixel, which wins no segment
    part = support_part([replace(some, label=label)], CONFIG)
    assert (part.label == 2).sum() == 1
    torch.testing.assert_close(part.rgbxy[part.label == 2][0, :3], some.rgb[:, 7, 7])


def test_user_embedding_is_asked_at_the_centres():
    t = smooth_task()
    seen = []

    def embedding(shown, xy):
        seen.append((shown.key, xy))
        return torch.cat([xy, 1 - xy], 1)

    graph = task_graph(t, CONFIG, embedding=embedding)
    centres = graph.ndata["rgbxy"][:, 3:]
    assert torch.equal(torch.cat([xy for _, xy in seen]), centres)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": 1}, "graph.segments: got 1, expected 2 segments"),
        ({"nodes": "voxels"}, "graph.nodes: got 'voxels', expected one of pixels, segments"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ConfigError, match=message):
        task_graph(smooth_task(), replace(CONFIG, **change))


def test_configuration_is_checked_by_name():
    with pytest.raises(ConfigError, match=r"graph.segments: got 0, expected a whole number in \[2, 16384\]"):
        check(Config(graph=replace(CONFIG, segments=0)))


def test_supports_without_labels_or_colours():
    t = smooth_task()
    with pytest.raises(DataError, match="support picture 'p0' has no label"):
        support_part([replace(t.support[0], label=None)], CONFIG)
    with pytest.raises(DataError, match="give no node, expected labelled pixels"):
        support_part([replace(t.support[0], label=torch.full((32, 32), 254))], CONFIG)
    broken = replace(t.query[0], rgb=torch.full((3, 32, 32), torch.nan))
    with pytest.raises(DataError, match="picture 'p100': got NaN or infinite colours"):
        task_graph(replace(t, query=[broken]), CONFIG)
