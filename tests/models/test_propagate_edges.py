"""Which edges carry labels in the training-free graph, against the dense matrix, and which settings leave no trace."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_tasks import graph_config, task

from pixgraph.graph.edges import EdgeKind
from pixgraph.graph.support import SUPPORT
from pixgraph.graph.task import attach_queries
from pixgraph.models.propagate import Diffusion, PropagatePredictor

OF_SUPPORTS = {
    "bg_bg": 1,
    "fg_fg": 1,
    "fg_bg": 1,
    "fg_fg_mode": "random",
    "intra_ratio": 1.0,
    "distance_feature": False,
    "image_feature": False,
    "edge_drop": 0.5,
    "query_support_random": 7,
}


def predict(some, **graph):
    return PropagatePredictor(graph_config(**graph)).predict(some)[0]


@pytest.mark.parametrize("knn", [0, 3])
def test_is_the_dense_matrix(knn):
    some = task(2, shots=2, unlabelled=2)
    config = graph_config(query_query_knn=3, unlabelled_knn=2, query_support_knn=knn, connectivity=8)
    d = Diffusion(alpha=0.7, steps=3, color=9.0, feature=2.0, support=0.3, similar=0.2)
    method = PropagatePredictor(config, 0, d)
    known = method._prepare(some)
    graph = attach_queries(known.part, some.query, some.unlabelled)
    rng = torch.Generator().manual_seed(0)
    feature = F.normalize(torch.randn(graph.num_nodes(), 5, generator=rng), dim=1)
    first = int((graph.ndata["role"] == SUPPORT).sum())
    evidence = torch.rand(graph.num_nodes() - first, 3, generator=rng).softmax(1)
    found = method._diffuse(graph, feature, known, evidence).double().numpy()

    drawn = EdgeKind.QUERY_SUPPORT_KNN if knn else EdgeKind.QUERY_SUPPORT_RANDOM
    scale = {drawn: 0.3, EdgeKind.QUERY_QUERY_KNN: 0.2, EdgeKind.UNLABELLED: 0.2}
    w = np.zeros((graph.num_nodes(),) * 2)
    for s, t, kind, color in zip(*graph.edges(), graph.edata["kind"], graph.edata["feature"][:, 0], strict=True):
        if t >= first:
            g = np.exp(-9.0 * float(color)) if kind == EdgeKind.LATTICE else scale.get(int(kind), 0.0)
            w[t, s] += g * np.exp(-2.0 * (1 - float(feature[s] @ feature[t])))
    w = (w / np.maximum(w.sum(1, keepdims=True), 1e-12))[first:]
    fixed, y0 = np.eye(3)[known.part.label.numpy()], evidence.double().numpy()
    y = y0
    for _ in range(3):
        y = 0.3 * y0 + 0.7 * w @ np.concatenate([fixed, y])
    np.testing.assert_allclose(found, y, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"query_query_knn": 3}, {"unlabelled_knn": 3}, {"query_support_knn": 0}, {"knn_level": 0}, {"connectivity": 8}],
    ids=str,
)
def test_settings_that_act(change):
    some = task(2, shots=2, unlabelled=2)
    assert not torch.allclose(predict(some), predict(some, **change), atol=1e-4)


def test_unlabelled_pictures_without_edges_leave_no_trace():
    some = task(2, shots=2, unlabelled=2)
    assert torch.equal(predict(some), predict(task(2, shots=2)))


@pytest.mark.parametrize("key", OF_SUPPORTS)
def test_settings_that_only_the_gnn_can_use(key):
    """With one exception: random partners are drawn beside the nearest, and count only where there are none."""
    some = task(2, shots=2)
    assert torch.equal(predict(some), predict(some, **{key: OF_SUPPORTS[key]}))
