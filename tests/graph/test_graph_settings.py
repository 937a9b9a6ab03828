"""Settings that the study of graph construction needs: diagonals, features switched off, the level of neighbours."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny_task import task

from pixgraph.config import Config, GraphConfig
from pixgraph.errors import ConfigError
from pixgraph.graph.edges import EdgeKind
from pixgraph.graph.support import support_part
from pixgraph.graph.task import attach_queries, task_graph

CONFIG = GraphConfig(stride=4, num_fg=9, num_bg=12, dilations=[1, 2], query_query_knn=3)


def pairs(graph, kind):
    src, dst = graph.edges()
    chosen = graph.edata["kind"] == kind
    return set(zip(src[chosen].tolist(), dst[chosen].tolist(), strict=True))


def test_neighbours_among_queries_are_never_lattice_neighbours():
    for connectivity in (4, 8):
        graph = task_graph(task(), replace(CONFIG, connectivity=connectivity))
        near, lattice = pairs(graph, EdgeKind.QUERY_QUERY_KNN), pairs(graph, EdgeKind.LATTICE)
        assert not near & lattice
        assert len(near) == 3 * 64


def test_features_switched_off_are_zero_on_every_kind_of_edge():
    config = replace(CONFIG, distance_feature=False, unlabelled_knn=2)
    some = task(unlabelled=1)
    graph, full = task_graph(some, config), task_graph(some, replace(config, distance_feature=True))
    assert not graph.edata["feature"][:, 1].any()
    assert torch.equal(graph.edata["feature"][:, ::2], full.edata["feature"][:, ::2])
    assert not support_part(some.support, config).graph().edata["feature"][:, 1].any()


@pytest.mark.parametrize("level", [0, 1, -1])
def test_neighbours_are_searched_in_one_level(level):
    some = task()
    config = replace(CONFIG, stride=8, dilations=[1], knn_level=level, query_support_random=0, query_support_knn=3)
    part = support_part(some.support, config)
    graph = attach_queries(part, some.query)
    grid = F.interpolate(F.normalize(some.query[0].features[level][None]), (4, 4), mode="bilinear", align_corners=False)
    query = F.normalize(grid[0].flatten(1).T)
    vectors = torch.empty_like(part.space.vectors)
    vectors[torch.from_numpy(part.order)] = F.normalize(part.space.vectors)
    assert vectors.shape[1] == len(some.query[0].features[level])
    best = (query @ vectors.T).topk(3).indices
    expected = {(s, len(part.label) + q) for q, row in enumerate(best.tolist()) for s in row}
    assert pairs(graph, EdgeKind.QUERY_SUPPORT_KNN) == expected


def test_a_level_that_is_not_there():
    with pytest.raises(ConfigError, match=r"graph.knn_level: got 2, expected -2..1 or none: the backbone has 2 levels"):
        task_graph(task(), replace(CONFIG, knn_level=2))


def test_edges_are_dropped_in_training_only(monkeypatch):
    from pixgraph.training import step

    class SeenError(Exception):
        pass

    def network(graph, _):
        raise SeenError(graph.num_edges())

    counts = []
    for share in (0.0, 0.5):
        config = Config(graph=replace(CONFIG, edge_drop=share))
        with pytest.raises(SeenError, match=r"^\d+$") as seen:
            step.episode_loss(network, task(), config, 0)
        counts.append(seen.value.args[0])
    assert 0.4 < counts[1] / counts[0] < 0.6
    assert task_graph(task(), replace(CONFIG, edge_drop=0.5)).num_edges() == counts[0]


def test_connectivity_is_four_or_eight():
    with pytest.raises(ConfigError, match=r"graph.connectivity: got 6, expected one of 4, 8"):
        task_graph(task(), replace(CONFIG, connectivity=6))
