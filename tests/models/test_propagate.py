"""Segmentation without training: flat colours, degenerate supports, symmetries, and the formulas by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_tasks import graph_config, iou, picture, relabelled, task, with_label

from pixgraph.data.picture import FewShotTask
from pixgraph.errors import DataError
from pixgraph.models.levels import level_statistics, standardise
from pixgraph.models.propagate import Diffusion, PropagatePredictor
from pixgraph.models.self_support import self_evidence, sides_of


def predict(some, diffusion=None, **graph):
    return PropagatePredictor(graph_config(**graph), 0, diffusion).predict(some)


@pytest.mark.parametrize("stride", [4, 8])
def test_flat_colours_are_segmented_perfectly_but_for_the_outlines(stride):
    """The coarsest cells have 16 pixels: farther than that from an outline there is next to no error."""
    some = task(2, shots=2, queries=1, size=256)
    some.query.append(picture(77, (2,), size=256))
    for found, query in zip(predict(some, stride=stride), some.query, strict=True):
        truth = query.label[None].float()
        far = F.max_pool2d(truth, 33, 1, 16) == -F.max_pool2d(-truth, 33, 1, 16)
        assert float(far.float().mean()) > 0.4
        assert float((found.argmax(0) != query.label)[far[0]].float().mean()) < 1e-3
        shown = [way for way in (1, 2) if (query.label == way).any()]
        assert min(iou(found, query.label, way) for way in shown) > 0.8


def test_supports_that_are_all_background_give_background():
    some = task(2, queries=1)
    blank = torch.zeros(64, 64, dtype=torch.int64)
    (found,) = predict(FewShotTask(2, [with_label(p, blank) for p in some.support], some.query))
    assert int(found.argmax(0).max()) == 0
    assert float(found[1:].max()) == 0


@pytest.mark.parametrize("mask", [0, 255])
def test_a_class_that_no_support_shows_has_probability_zero(mask):
    some = task(2, queries=1)
    some.support[1] = with_label(some.support[1], torch.full((64, 64), mask))
    (found,) = predict(some)
    assert found.isfinite().all()
    assert float(found[2].max()) == 0
    assert iou(found, some.query[0].label, 1) > 0.5


def test_supports_without_background_give_foreground():
    some = task(1)
    (found,) = predict(FewShotTask(1, [with_label(p, torch.ones(64, 64).long()) for p in some.support], some.query))
    torch.testing.assert_close(found[1], torch.ones(64, 64))


def test_permuting_the_classes_permutes_the_output():
    some = task(3, queries=2)
    ways = [3, 1, 2]
    inverse = [0] + [ways.index(n) + 1 for n in (1, 2, 3)]
    for a, b in zip(predict(some), predict(relabelled(some, ways)), strict=True):
        torch.testing.assert_close(b, a[inverse], atol=1e-5, rtol=1e-5)


def test_order_of_the_supports_does_not_matter():
    some = task(2, shots=2)
    (a,), (b,) = predict(some), predict(FewShotTask(2, some.support[::-1], some.query))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_evidence_is_the_mean_posterior_of_kernel_densities():
    """Without diffusion, at nodes of the size of the coarsest cells: the formula in NumPy, with one level."""
    some = task(1, queries=1)
    for p in (*some.support, *some.query):
        p.features = p.features[2:]
    t = 5.0
    (found,) = predict(some, Diffusion(sharpness=t, alpha=0.0, self_support=0.0), stride=16)
    statistics = level_statistics(some.support)
    s, q = (
        F.normalize(standardise(p, statistics)[0].flatten(1).T, dim=1).double().numpy()
        for p in (some.support[0], some.query[0])
    )
    share = (some.support[0].label == 1).double().unfold(0, 16, 16).unfold(1, 16, 16).mean((2, 3)).flatten().numpy()
    density = np.stack([(np.exp(t * q @ s.T) * w).sum(1) / w.sum() for w in (1 - share, share)])  # (2, P)
    expected = torch.from_numpy(density / density.sum(0)).reshape(1, 2, 4, 4).float()
    expected = F.interpolate(expected, (64, 64), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_no_steps_keep_the_evidence_and_steps_change_it():
    some = task()
    (kept,), (still,), (spread,) = (
        predict(some, d) for d in (Diffusion(alpha=0.0), Diffusion(steps=0), Diffusion(steps=5))
    )
    assert torch.equal(kept, still)
    assert not torch.allclose(kept, spread, atol=1e-3)


def test_diffusion_without_edges_keeps_the_evidence():
    some = task()
    none = {"dilations": [], "query_support_knn": 0, "query_support_random": 0}
    torch.testing.assert_close(predict(some, **none)[0], predict(some, Diffusion(alpha=0.0), **none)[0])


def test_diffusion_smooths_evidence_within_a_colour():
    """Noisy features, clean colours: what spreads stops at the outline, and the answer gets better."""
    some = task(1, shots=2, queries=1)
    rng = torch.Generator().manual_seed(0)
    for p in (*some.support, *some.query):
        p.features = [f + 0.8 * torch.randn(f.shape, generator=rng) for f in p.features]
    raw, smooth = (
        predict(some, d, stride=4)[0] for d in (Diffusion(alpha=0.0), Diffusion(color=60.0, feature=0.0, support=0.0))
    )
    truth = some.query[0].label
    assert ((smooth.argmax(0) != truth).sum()) < ((raw.argmax(0) != truth).sum())


@pytest.mark.parametrize("shots", [1, 2])
def test_self_support_multiplies_the_odds_of_a_class(shots):
    """At nodes of the size of the coarsest cells, with one level: the closed form."""
    some = task(1, shots=shots, queries=1)
    for p in (*some.support, *some.query):
        p.features = p.features[2:]
    spread = F.interpolate(torch.eye(16).view(16, 1, 4, 4), (64, 64), mode="bilinear", align_corners=False)
    spread = spread.flatten(1).T.double()

    def nodes(strength):
        """(16, 1) probabilities of the nodes."""
        (found,) = predict(some, Diffusion(sharpness=3.0, alpha=0.0, self_support=strength), stride=16)
        return torch.linalg.lstsq(spread, found[1].flatten().double()[:, None]).solution

    plain, found = nodes(0.0), nodes(4.0)
    maps = standardise(some.query[0], level_statistics(some.support))
    own = self_evidence(F.normalize(maps[0].flatten(1).T, dim=1).double(), sides_of(plain.T)).T
    expected = torch.sigmoid(torch.logit(plain, eps=1e-9) + 4.0 * own)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)
    assert (found - plain).abs().max() > 0.01


def test_discriminants_count_only_with_several_supports_and_only_as_much_as_asked():
    def mixed(shots, mix):
        return predict(task(1, shots=shots), Diffusion(alpha=0.0, mix=mix, self_support=0.0))[0]

    assert torch.equal(mixed(1, 0.0), mixed(1, 0.9))
    without, half, full = (mixed(2, m) for m in (0.0, 0.5, 1.0))
    assert not torch.allclose(without, full, atol=1e-3)
    torch.testing.assert_close(half, (without + full) / 2)  # linear in y0, as long as nothing spreads


def test_discriminants_alone_segment_flat_colours():
    some = task(2, shots=3, queries=1, size=256)
    (found,) = predict(some, Diffusion(alpha=0.0, mix=1.0))
    assert min(iou(found, some.query[0].label, way) for way in (1, 2) if (some.query[0].label == way).any()) > 0.7


def test_support_without_a_label_is_refused():
    some = task()
    some.support[0] = with_label(some.support[0], None)
    with pytest.raises(DataError, match="'p10' has no label; give it a mask"):
        predict(some)


def test_rounded_shares_make_no_background():
    """Cells of 12 or 13 pixels a side: their shares of two classes do not sum to one exactly."""
    some = task(2, queries=1, size=400)
    halves = (torch.arange(400) % 3 == 0).long().expand(400, 400) + 1
    (found,) = predict(FewShotTask(2, [with_label(p, halves) for p in some.support], some.query))
    assert float(found[0].max()) == 0
