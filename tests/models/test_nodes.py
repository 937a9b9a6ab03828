"""Where nodes are in their pictures, and the features at them."""

import pytest
import torch
from torch import nn
from toy_tasks import CHANNELS, graph_config, picture, task

from pixgraph.graph.task import task_graph
from pixgraph.models.levels import resample, sample_at
from pixgraph.models.nodes import node_features, node_grids, support_places
from pixgraph.models.places import NodeGrid


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_grids_follow_each_other_and_cover_all_nodes(stride):
    some = task(queries=2, unlabelled=1)
    some.query[1] = picture(9, size=96)
    graph = task_graph(some, graph_config(stride=stride))
    grids = node_grids(graph, some)
    assert [(g.rows, g.columns) for g in grids] == [(64 // stride,) * 2, (96 // stride,) * 2, (64 // stride,) * 2]
    first = int((graph.ndata["role"] == 0).sum())
    ids = [i for g in grids for i in range(g.nodes.start, g.nodes.stop)]
    assert ids == list(range(first, graph.num_nodes()))


def test_grid_of_a_picture_that_is_not_square():
    some = task()
    wide = picture(9, size=96)
    wide.rgb, wide.features = wide.rgb[:, :64], [f[:, : f.shape[1] * 2 // 3] for f in wide.features]
    some.query[0] = wide
    grid = node_grids(task_graph(some, graph_config()), some)[0]
    assert (grid.rows, grid.columns) == (8, 12)


def test_image_lays_values_out_row_by_row():
    image = NodeGrid(2, 3, 4).image(torch.arange(20.0)[:, None].expand(-1, 2))
    assert torch.equal(image, torch.arange(2.0, 14).reshape(1, 3, 4).expand(2, -1, -1))


def test_features_are_the_sum_of_the_levels_projected_at_each_node():
    some = task(queries=1, unlabelled=1)
    graph = task_graph(some, graph_config())
    torch.manual_seed(0)
    project = nn.ModuleList([nn.Linear(c, 5, bias=False) for c in CHANNELS])
    grids = node_grids(graph, some)
    others = [*some.query, *some.unlabelled]
    places = [*support_places(graph, some), *grids]
    got = node_features([p.features for p in (*some.support, *others)], places, project)
    xy, image = graph.ndata["rgbxy"][:, 3:], graph.ndata["image"]

    def total(read, maps):
        return sum(layer(read(m)) for layer, m in zip(project, maps, strict=True))

    expected = [
        total(lambda m, i=i: sample_at(m, xy[image == i], (64, 64)), p.features) for i, p in enumerate(some.support)
    ]
    expected += [total(lambda m: resample(m, 8, 8).flatten(1).T, p.features) for p in others]
    torch.testing.assert_close(got, torch.cat(expected), atol=1e-5, rtol=1e-5)
