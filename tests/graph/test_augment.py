"""Augmentations: rates, what stays, symmetry, determinism, and that the given graph is left alone."""

import numpy as np
import pytest
import torch

from pixgraph.errors import ConfigError
from pixgraph.graph.augment import drop_edges, drop_nodes, mask_edge_features, mask_features, random_walk_subgraph
from pixgraph.graph.backend import batch, make_graph, to_edge_graph


def rng(seed=0):
    return np.random.default_rng([seed, 7])


@pytest.fixture(params=["made", "EdgeGraph"])
def graph(request):
    """200 nodes in a ring of both directions, with an id on every node and edge."""
    a, b = torch.arange(200), (torch.arange(200) + 1) % 200
    made = make_graph(
        torch.cat([a, b]),
        torch.cat([b, a]),
        200,
        {"x": torch.arange(200)},
        {"feature": torch.rand(400, 3) + 0.1, "e": torch.arange(400)},
    )
    return made if request.param == "made" else to_edge_graph(made)


def edge_set(g):
    return set(zip(*(x.tolist() for x in g.edges()), strict=True))


def test_drop_edges_keeps_pairs_data_and_rate(graph):
    view = drop_edges(graph, 0.3, rng())
    assert view.num_nodes() == 200
    assert edge_set(view) == {(t, s) for s, t in edge_set(view)}
    assert 0.6 < view.num_edges() / 400 < 0.8
    assert torch.equal(graph.edata["feature"][view.edata["e"]], view.edata["feature"])
    assert torch.equal(graph.edges()[0][view.edata["e"]], view.edges()[0])
    assert graph.num_edges() == 400


def test_drop_edges_of_single_directions(graph):
    view = drop_edges(graph, 0.3, rng(), symmetric=False)
    assert edge_set(view) != {(t, s) for s, t in edge_set(view)}
    assert 0.6 < view.num_edges() / 400 < 0.8


@pytest.mark.parametrize("symmetric", [True, False])
def test_drop_edges_limits_and_determinism(graph, symmetric):
    assert drop_edges(graph, 0, rng(), symmetric).num_edges() == 400
    assert drop_edges(graph, 1, rng(), symmetric).num_edges() == 0
    kept = [drop_edges(graph, 0.5, rng(s), symmetric).edata["e"].tolist() for s in (1, 1, 2)]
    assert kept[0] == kept[1] != kept[2]


def test_views_keep_the_batch(graph):
    view = drop_edges(batch([graph, graph]), 0.5, rng())
    assert view.batch_num_nodes().tolist() == [200, 200]
    assert view.batch_num_edges().sum() == view.num_edges()


def test_mask_features_zeroes_whole_columns():
    x = torch.rand(30, 400) + 0.1
    masked = mask_features(x, 0.25, rng())
    zero = (masked == 0).all(0)
    assert torch.equal(zero, (masked == 0).any(0))
    assert torch.equal(masked[:, ~zero], x[:, ~zero])
    assert 0.15 < zero.float().mean() < 0.35
    assert x.min() > 0
    assert mask_features(x, 1, rng()).abs().sum() == 0


def test_mask_edge_features_leaves_the_graph_alone(graph):
    before = graph.edata["feature"].clone()
    view = mask_edge_features(graph, 1, rng())
    assert view.edata["feature"].abs().sum() == 0
    assert torch.equal(graph.edata["feature"], before)
    assert torch.equal(view.edata["e"], graph.edata["e"])
    with pytest.raises(ConfigError, match=r"no edge data 'colour', expected one of \['e', 'feature'\]"):
        mask_edge_features(graph, 0.5, rng(), "colour")


def test_drop_nodes_cuts_edges_and_keeps_ids(graph):
    view = drop_nodes(graph, 0.2, rng())
    dropped = view.ndata["dropped"]
    assert torch.equal(view.ndata["x"], graph.ndata["x"])
    assert 0.1 < dropped.float().mean() < 0.3
    assert not dropped[torch.cat(view.edges())].any()
    src, dst = graph.edges()
    assert view.num_edges() == int((~(dropped[src] | dropped[dst])).sum())
    assert "dropped" not in graph.ndata
    assert drop_nodes(graph, 1, rng()).num_edges() == 0


def test_random_walk_reaches_only_neighbours(graph):
    view = random_walk_subgraph(graph, torch.tensor([10, 10, 10, 100]), 4, rng())
    ids = view.ndata["id"]
    assert torch.equal(ids, ids.sort().values)
    assert {10, 100} <= set(ids.tolist()) <= {*range(6, 15), *range(96, 105)}
    assert torch.equal(view.ndata["x"], ids)
    src, dst = (ids[x] for x in view.edges())
    assert torch.equal(graph.edges()[0][view.edata["e"]], src)
    assert torch.equal(graph.edges()[1][view.edata["e"]], dst)
    inside = set(ids.tolist())
    assert view.num_edges() == sum(s in inside and t in inside for s, t in edge_set(graph))


def test_random_walk_ends_where_no_edge_leads_on():
    chain = make_graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 4)
    view = random_walk_subgraph(chain, torch.tensor([1, 3]), 10, rng())
    assert view.ndata["id"].tolist() == [1, 2, 3]
    assert random_walk_subgraph(chain, torch.tensor([1]), 0, rng()).ndata["id"].tolist() == [1]
    assert random_walk_subgraph(chain, torch.zeros(0, dtype=torch.int64), 3, rng()).num_nodes() == 0


def test_refuses_wrong_arguments(graph):
    for call in (drop_edges, drop_nodes, mask_edge_features):
        with pytest.raises(ConfigError, match=r"got p = 1\.5, expected a probability in \[0, 1\]"):
            call(graph, 1.5, rng())
    with pytest.raises(ConfigError, match="mask_features: got p = -1"):
        mask_features(torch.ones(2, 2), -1, rng())
    with pytest.raises(ConfigError, match=r"seeds within 0\.\.199"):
        random_walk_subgraph(graph, torch.tensor([200]), 2, rng())
    with pytest.raises(ConfigError, match="got length -1, expected >= 0"):
        random_walk_subgraph(graph, torch.tensor([0]), -1, rng())
