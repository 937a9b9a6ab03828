from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_tasks import graph_config, picture, task, with_label

from pixgraph.config import GraphConfig
from pixgraph.data.annotations import make_annotation
from pixgraph.data.picture import FewShotTask
from pixgraph.evaluation.baselines import trivial_baselines
from pixgraph.graph.marks import mark_graph
from pixgraph.models.cell_labels import label_shares
from pixgraph.models.completion import (
    Completion,
    MarkCompleter,
    complete_picture,
    complete_task,
    edge_weights,
    mark_chances,
    mark_prior,
)
from pixgraph.models.harmonic import spread_labels
from pixgraph.models.levels import level_statistics, resample, standardise
from pixgraph.models.propagate import PropagatePredictor


def scene(seed, shown=(1,)):
    """The toy picture with features of which grey has a direction of its own, as mean colours have none."""
    old = picture(seed, shown)
    planes = torch.cat([old.rgb - 0.5, torch.full_like(old.rgb[:1], 0.3)])
    return replace(old, features=[F.avg_pool2d(planes, s) for s in (4, 8)])


def marked(old, number=4, ways=None):
    """The picture with some points of each label."""
    label = torch.from_numpy(make_annotation(old.label.numpy().astype(np.uint8), "points", num_points=number).label)
    label = label.long()
    if ways is not None:
        label[~torch.isin(label, torch.tensor(ways))] = 254
    return with_label(old, label)


def boxed(old):
    label, rough = torch.zeros_like(old.label), torch.zeros_like(old.label, dtype=torch.bool)
    for way in [w for w in old.label.unique().tolist() if w]:
        rows, columns = (old.label == way).nonzero().T
        box = (slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1))
        label[box], rough[box] = way, True
    new = with_label(old, label)
    new.rough = rough
    return new


def iou(found, label, way=1):
    return float(((found == way) & (label == way)).sum() / ((found == way) | (label == way)).sum())


def dense(src, dst, weight, prior, fixed, restart):
    """The same equations, solved by a dense system."""
    count = len(prior)
    w = np.zeros((count, count))
    np.add.at(w, (dst, src), weight)
    free = np.flatnonzero(~fixed)
    system = np.diag(w.sum(1) + restart) - w
    right = restart * prior[free] + w[np.ix_(free, np.flatnonzero(fixed))] @ prior[fixed]
    y = prior.copy()
    y[free] = np.linalg.solve(system[np.ix_(free, free)], right)
    return y


@pytest.mark.parametrize("restart", [0.0, 0.3])
def test_spreading_solves_the_equations(restart):
    rng = np.random.default_rng(0)
    a = np.arange(11)
    pairs = np.concatenate([np.stack([a, a + 1], 1), rng.integers(0, 12, (20, 2))])
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], 1), axis=0)
    half = rng.random(len(pairs)) + 0.1
    src, dst = np.concatenate([pairs[:, 0], pairs[:, 1]]), np.concatenate([pairs[:, 1], pairs[:, 0]])
    weight = np.concatenate([half, half])
    prior = rng.dirichlet(np.ones(3), 12)
    fixed = np.isin(np.arange(12), [0, 5, 9])
    tensors = (torch.from_numpy(x) for x in (src, dst, weight, prior, fixed))
    found = spread_labels(*tensors, restart)
    np.testing.assert_allclose(found.numpy(), dense(src, dst, weight, prior, fixed, restart), atol=1e-3)
    np.testing.assert_allclose(found.sum(1).numpy(), 1, atol=1e-9)


def test_on_a_path_labels_fall_linearly():
    src, dst = torch.tensor([0, 1, 2, 3, 1, 2, 3, 4]), torch.tensor([1, 2, 3, 4, 0, 1, 2, 3])
    prior = torch.full((5, 2), 0.5)
    prior[0], prior[4] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    fixed = torch.tensor([True, False, False, False, True])
    found = spread_labels(src, dst, torch.ones(8), prior, fixed, 0.0)
    torch.testing.assert_close(found[:, 1], torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]), atol=1e-3, rtol=0)


def test_the_graph_has_marked_and_unlabelled_nodes():
    old = marked(picture(0))
    graph = mark_graph(old, 8, [1], 4)
    label = graph.ndata["label"].view(8, 8)
    for row in range(8):
        for column in range(8):
            cell = old.label[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            shown = cell[cell < 254]
            expected = 254 if not len(shown) else int(torch.bincount(shown).argmax())
            assert label[row, column] == expected
    assert ((graph.ndata["role"] == 0) == (graph.ndata["label"] < 254)).all()
    assert graph.num_edges() == 2 * (7 * 8 + 8 * 7)


@pytest.mark.parametrize("kind", [marked, boxed])
def test_marks_become_masks(kind):
    for seed in range(3):
        whole = scene(seed)
        found = complete_picture(kind(whole), 1)
        assert iou(found.label, whole.label) > 0.5
        assert found.rough is None
    two = scene(3, (1, 2))
    found = complete_picture(kind(two), 2)
    assert min(iou(found.label, two.label, way) for way in (1, 2)) > 0.5


def test_marks_keep_their_label_and_unknown_pixels_stay_unknown():
    old = marked(picture(0), 12)
    old.label[:, :5] = 255
    old.label[30, 30] = 1
    found = complete_picture(old, 1).label
    kept = old.label != 254
    assert (found[kept] == old.label[kept]).all()
    assert ((found == 255) == (old.label == 255)).all()


def test_whole_masks_and_pictures_without_a_class_are_left_alone():
    whole = picture(0)
    assert complete_picture(whole, 1) is whole
    old = task()
    assert complete_task(old) is old
    only_background = marked(whole, ways=[0])
    assert mark_chances(only_background, 1) is None
    assert complete_picture(only_background, 1) is only_background


def test_marks_of_the_class_alone_suffice():
    whole = scene(1)
    found = complete_picture(marked(whole, ways=[1]), 1).label
    assert iou(found, whole.label) > 0.5


def test_the_order_of_classes_has_no_influence():
    old = marked(picture(3, (1, 2)))
    swapped = with_label(old, torch.tensor([0, 2, 1, *range(3, 256)])[old.label])
    one, two = mark_chances(old, 2), mark_chances(swapped, 2)
    torch.testing.assert_close(one[[0, 2, 1]], two, atol=1e-4, rtol=0)


def test_chances_sum_to_one_and_doubts_stay_unlabelled():
    old = marked(scene(0))
    torch.testing.assert_close(mark_chances(old, 1).sum(0), torch.ones(64, 64))
    found = complete_picture(old, 1, Completion(sure=0.99)).label
    assert (found == 254).any()
    assert (found[found < 254] == complete_picture(old, 1).label[found < 254]).all()


def test_a_completer_remembers_the_last_supports():
    complete, old = MarkCompleter(), task()
    few = FewShotTask(2, [marked(p) for p in old.support], old.query)
    one = complete(few)
    again = complete(FewShotTask(2, few.support, old.query[:1]))
    assert all(a is b for a, b in zip(one.support, again.support, strict=True))
    few.support[0].label[0, 0] = 1
    assert complete(few).support[0] is not one.support[0]


def test_supports_without_marks_are_left_alone_until_they_get_some():
    complete, few = MarkCompleter(), task()
    assert complete(few) is few
    assert complete(few) is few
    few.support[0].label[:8] = 254
    found = complete(few)
    assert found is not few
    assert (found.support[0].label != few.support[0].label).any()


@pytest.mark.parametrize("name", ["propagate", "prototype", "knn", "linear"])
def test_every_method_takes_marks(name):
    old = task(1)
    config = GraphConfig(**vars(graph_config()))
    method = PropagatePredictor(config) if name == "propagate" else trivial_baselines()[name]
    few = FewShotTask(1, [marked(p) for p in old.support], old.query)
    whole, weak = (method.predict(t)[0] for t in (old, few))
    truth = old.query[0].label
    assert iou(weak.argmax(0), truth) > 0.8 * iou(whole.argmax(0), truth)


def test_edge_weights_are_those_of_the_formula():
    old, settings = marked(picture(0)), Completion()
    maps = standardise(old, level_statistics([old]))
    graph = mark_graph(old, 4)
    weight = edge_weights(graph, maps, 64, (16, 16), settings)
    src, dst = (end.numpy() for end in graph.edges())
    fine = [m for m in maps if 64 / m.shape[-1] in (4, 8, 16)]
    units = [F.normalize(resample(m, 16, 16), dim=0).flatten(1).T.numpy() for m in fine]
    rgb = F.avg_pool2d(old.rgb, 4).flatten(1).T.numpy()
    for e in range(0, len(src), 17):
        a, b = src[e], dst[e]
        cosine = np.mean([u[a] @ u[b] for u in units])
        length = np.hypot(a // 16 - b // 16, a % 16 - b % 16)
        color = np.abs(rgb[a] - rgb[b]).mean()
        expected = np.exp(-settings.edge_color * color - settings.edge_feature * (1 - cosine)) / length + 1e-6
        assert weight[e] == pytest.approx(expected, rel=1e-4)
    forth = dict(zip(zip(src, dst, strict=True), weight.tolist(), strict=True))
    assert all(w == forth[b, a] for (a, b), w in forth.items())


def test_the_prior_is_that_of_the_formula():
    old, settings = marked(scene(0)), Completion()
    maps = standardise(old, level_statistics([old]))
    found = mark_prior(old, maps, 1, settings).flatten(1)
    unit = F.normalize(resample(maps[1], 32, 32).flatten(1).T, dim=1).double().numpy()  # stride 8 alone is deep enough
    rgb = resample(old.rgb, 32, 32).flatten(1).T.double().numpy()
    shares = label_shares(old.label[None], 1, 32, 32)[0].numpy()
    place = (np.stack(np.divmod(np.arange(1024), 32), 1) + 0.5) / 32
    for q in range(0, 1024, 61):
        density = []
        for n in (0, 1):
            total = 0.0
            for j in np.flatnonzero(shares[:, n]):
                kernel = settings.sharpness * unit[q] @ unit[j] - settings.color * np.abs(rgb[q] - rgb[j]).mean()
                total += shares[j, n] * np.exp(kernel - ((place[q] - place[j]) ** 2).sum() / (2 * settings.reach**2))
            density.append(total * (np.exp(settings.caution) if n == 0 else 1))
        assert found[1, q] == pytest.approx(density[1] / sum(density), abs=1e-4)


def test_no_label_of_a_query_is_read():
    old = task(1, queries=1)
    few = FewShotTask(1, [marked(p) for p in old.support], old.query)
    blind = FewShotTask(1, few.support, [replace(q, label=None) for q in few.query])
    config = graph_config()
    one, two = (PropagatePredictor(config).predict(t)[0] for t in (few, blind))
    assert torch.equal(one, two)
