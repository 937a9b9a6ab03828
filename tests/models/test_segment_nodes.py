"""Networks and propagation on graphs of segments: the same weights, the same symmetries as on pixels."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from toy_tasks import CHANNELS, graph_config, iou, network, picture, relabelled, task

from pixgraph.config import Config, ModelConfig
from pixgraph.data.picture import FewShotTask
from pixgraph.graph.segment_map import segment_map
from pixgraph.graph.support_nodes import labelled_segments
from pixgraph.graph.task import task_graph
from pixgraph.models.nodes import node_features, node_grids, support_places
from pixgraph.models.places import NodeSegments
from pixgraph.models.predictor import GraphPredictor
from pixgraph.models.propagate import Diffusion, PropagatePredictor
from pixgraph.training.step import episode_loss


def cut(**changes):
    return graph_config(nodes="segments", **{"segments": 40, "query_query_knn": 2, **changes})


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_places_follow_each_other_and_cover_all_nodes():
    some = task(queries=2, unlabelled=1)
    some.query[1] = picture(9, size=96)
    graph = task_graph(some, cut())
    places = [*support_places(graph, some), *node_grids(graph, some)]
    ids = [i for place in places for i in range(place.nodes.start, place.nodes.stop)]
    assert ids == list(range(graph.num_nodes()))
    assert [(p.rows, p.columns) for p in places[2:]] == [(16, 16), (24, 24), (16, 16)]
    assert torch.equal(places[3].segments.where, segment_map(some.query[1], 40).where)


def test_features_are_means_over_the_segments():
    some = task(queries=1)
    graph = task_graph(some, cut())
    torch.manual_seed(0)
    project = nn.ModuleList([nn.Linear(c, 5, bias=False) for c in CHANNELS])
    places = [*support_places(graph, some), *node_grids(graph, some)]
    pictures = [*some.support, *some.query]
    got = node_features([p.features for p in pictures], places, project)
    expected = [
        sum(layer(place.collect(m)) for layer, m in zip(project, p.features, strict=True))
        for p, place in zip(pictures, places, strict=True)
    ]
    close(got, torch.cat(expected))


def test_images_are_painted_by_segment():
    some = picture(1)
    place = NodeSegments(3, segment_map(some, 20))
    values = torch.randn(3 + len(place), 2, 4)
    image = place.image(values)
    assert image.shape == (2, 4, 16, 16)
    pixels = place.pixels(values[3:, 1], (64, 64))  # (4, H, W)
    close(image[1], nn.functional.avg_pool2d(pixels, 4))


def test_labels_are_majorities():
    some = picture(1)
    segments, labels = labelled_segments(some, 20)
    place = NodeSegments(0, segments)
    assert place.labels(some.label).tolist() == labels.tolist()


def test_flat_colours_are_propagated_perfectly_but_for_the_outlines():
    some = task(2, shots=2, queries=1, size=128)
    (found,) = PropagatePredictor(cut(segments=100)).predict(some)
    assert float(found.sum(0).sub(1).abs().max()) < 1e-5
    shown = [way for way in (1, 2) if (some.query[0].label == way).any()]
    assert min(iou(found, some.query[0].label, way) for way in shown) > 0.8


@pytest.mark.parametrize("predictor", ["propagate", "graph"])
def test_order_of_supports_and_classes(predictor):
    some = task(3, queries=2)

    def predict(one):
        if predictor == "propagate":
            return PropagatePredictor(cut()).predict(one)
        return GraphPredictor(network(), cut()).predict(one)

    expected = predict(some)
    for a, b in zip(expected, predict(FewShotTask(3, some.support[::-1], some.query)), strict=True):
        close(b, a)
    ways = [3, 1, 2]
    inverse = [0] + [ways.index(n) + 1 for n in (1, 2, 3)]
    for a, b in zip(expected, predict(relabelled(some, ways)), strict=True):
        close(b, a[inverse])


@pytest.mark.parametrize("predictor", ["propagate", "graph"])
def test_labels_of_queries_are_never_read(predictor):
    some = task(2, queries=2)
    blind = replace(some, query=[replace(p, label=None) for p in some.query])

    def predict(one):
        method = PropagatePredictor(cut()) if predictor == "propagate" else GraphPredictor(network(), cut())
        return method.predict(one)

    for a, b in zip(predict(some), predict(blind), strict=True):
        assert torch.equal(a, b)


def test_remembered_supports_give_the_same_logits():
    some, net, config = task(2, shots=2, queries=2, unlabelled=1), network(), cut(unlabelled_knn=2)
    graph = task_graph(some, config)
    with torch.no_grad():
        whole = net(graph, some).logits
        supports = task_graph(replace(some, query=some.query[:1]), config)
        first = int((supports.ndata["role"] == 0).sum())
        assert first == sum(map(len, support_places(graph, some)))
    found = GraphPredictor(net, config).predict(some)
    for a, b in zip(whole, found, strict=True):
        full = nn.functional.interpolate(a[None], (64, 64), mode="bilinear", align_corners=False)[0]
        close(torch.softmax(torch.cat([torch.zeros_like(full[:1]), full]), 0), b)


def test_the_same_weights_serve_pixels_and_segments():
    some, net = task(2), network()
    a, b = (GraphPredictor(net, config).predict(some)[0] for config in (graph_config(), cut()))
    assert a.shape == b.shape == (3, 64, 64)
    assert not torch.equal(a, b)


@pytest.mark.parametrize("form", ["supcon", "pixel_gnn"])
def test_all_losses_of_training_reach_the_weights(form):
    config = Config(graph=cut(), model=ModelConfig(width=16, heads=2, decoder_blocks=1, encoder_blocks=2))
    config.loss.supcon_form, config.loss.unsup, config.loss.self_prediction = form, 0.1, 0.1
    config.graph.edge_drop = 0.1
    net = network(encoder_blocks=2, decoder_blocks=1).train()
    loss, logs = episode_loss(net, task(2, queries=2, unlabelled=1), config, 3)
    loss.backward()
    assert {"segmentation", "auxiliary", "supcon", "unsup", "self_prediction"} <= logs.keys()
    # The toy backbone's finest map is no finer than the painted segments, so that nothing is left to refine.
    rest = [p for name, p in net.named_parameters() if not name.startswith("upsample")]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in rest)


def test_no_steps_of_diffusion_keep_the_evidence():
    some = task()
    (kept,) = PropagatePredictor(cut(), 0, Diffusion(alpha=0.0)).predict(some)
    where = segment_map(some.query[0], 40).where
    for i in range(int(where.max()) + 1):
        inside = kept[:, where == i]
        close(inside, inside[:, :1].expand_as(inside))
