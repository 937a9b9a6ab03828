"""The mean with the answer to mirrored pictures: hand-made methods, and what it must be symmetric under."""

from dataclasses import replace

import pytest
import torch
from toy_tasks import graph_config, task

from pixgraph.backbones.features import FeatureStore
from pixgraph.backbones.filters import FilterBank
from pixgraph.data.picture import FewShotTask
from pixgraph.models.mirrored import MirroredPredictor
from pixgraph.models.predictor import Predictor
from pixgraph.models.propagate import PropagatePredictor


class Columns:
    """Class 1 has a chance that grows from left to right, times the red of the query; notes what it is asked."""

    name = "columns"

    def __init__(self):
        self.asked = []

    def predict(self, some):
        self.asked.append(some)
        ramp = torch.linspace(0, 1, 64)
        return [torch.stack([1 - ramp * q.rgb[0], ramp * q.rgb[0]]) for q in some.query]


@pytest.fixture
def store():
    return FeatureStore(FilterBank(), 64)


def known(store, some):
    """The task with features of the store."""

    def same(pictures):
        found = [store.from_image((255 * p.rgb).round().byte().permute(1, 2, 0).numpy()) for p in pictures]
        return [replace(f, label=p.label, rough=p.rough) for f, p in zip(found, pictures, strict=True)]

    return FewShotTask(some.n_way, same(some.support), same(some.query), same(some.unlabelled))


def test_the_answer_is_the_mean_over_the_picture_and_its_image(store):
    some, plain, mirrored = known(store, task(1)), Columns(), Columns()
    method = MirroredPredictor(plain, mirrored, store)
    assert isinstance(method, Predictor)
    assert method.name == "columns, mirrored"
    [found] = method.predict(some)
    # A ramp and its mirror image have the mean one half everywhere.
    torch.testing.assert_close(found[1], some.query[0].rgb[0] / 2)
    torch.testing.assert_close(found.sum(0), torch.ones(64, 64))


def test_pictures_labels_and_rough_parts_are_mirrored_together(store):
    some = known(store, task(2, shots=2, unlabelled=1))
    some.support[1].rough = some.support[1].label == 1
    plain, mirrored = Columns(), Columns()
    MirroredPredictor(plain, mirrored, store).predict(some)
    assert plain.asked == [some]
    [image] = mirrored.asked
    pairs = list(zip(some.support, image.support, strict=True))
    for before, after in [*pairs, *zip(some.query + some.unlabelled, image.query + image.unlabelled, strict=True)]:
        torch.testing.assert_close(after.rgb, before.rgb.flip(-1))
        assert after.key != before.key
        assert after.size == before.size
    assert all(torch.equal(after.label, before.label.flip(-1)) for before, after in pairs)
    assert torch.equal(image.support[1].rough, some.support[1].rough.flip(-1))
    assert image.support[0].rough is None


def test_the_same_supports_are_mirrored_once(store):
    some, mirrored = known(store, task(1, queries=2, unlabelled=1)), Columns()
    method = MirroredPredictor(Columns(), mirrored, store)
    for query in some.query:
        method.predict(FewShotTask(1, some.support, [query], some.unlabelled))
    first, second = mirrored.asked
    for kind in ("support", "unlabelled"):
        assert all(a is b for a, b in zip(getattr(first, kind), getattr(second, kind), strict=True))
    some.support[0].label.zero_()
    method.predict(some)
    assert not mirrored.asked[2].support[0].label.any()


def test_a_symmetric_method_gets_the_mirrored_answer_for_the_mirrored_task(store):
    """Nodes are drawn by the pictures' keys: without edges to the supports nothing else breaks the symmetry."""
    config = graph_config(query_support_knn=0, query_support_random=0)

    def answer(some):
        return MirroredPredictor(PropagatePredictor(config), PropagatePredictor(config), store).predict(some)[0]

    some = known(store, task(2))
    image = FewShotTask(
        2,
        [replace(store.mirrored(p), label=p.label.flip(-1)) for p in some.support],
        [store.mirrored(p) for p in some.query],
    )
    torch.testing.assert_close(answer(image).flip(-1), answer(some), atol=2e-3, rtol=0)
