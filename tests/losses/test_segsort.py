"""Pixel-to-segment contrast against loops, closed forms and two classes by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.losses.segsort import class_relation, segsort, set_relation


def unit(*shape, seed=0):
    return F.normalize(torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)), dim=-1)


def example(n=30, segments=9, classes=3, seed=0):
    """Pixels, segment directions, own segment, labels of segments."""
    rng = np.random.default_rng([seed, 1])
    label = torch.from_numpy(rng.integers(0, classes, segments))
    own = torch.from_numpy(rng.integers(0, segments, n))
    return unit(n, 5, seed=seed), unit(segments, 5, seed=seed + 1), own, label


def oracle(e, p, own, relations, k, plus=True):
    """The formula of section 4 pixel by pixel; relations[i][j] is what pixel i thinks of segment j."""
    values = []
    for i in range(len(e)):
        if relations[i][own[i]] <= 0:
            continue
        s = [math.exp(k * float(e[i] @ p[j])) for j in range(len(p))]
        positive = [j for j in range(len(p)) if relations[i][j] > 0 and j != own[i]]
        top = sum(s[j] for j in positive) if positive and plus else s[own[i]]
        values.append(-math.log(top / (top + sum(s[j] for j in range(len(p)) if relations[i][j] < 0))))
    return float(np.mean(values))


@pytest.mark.parametrize("k", [6.0, 16.0])
@pytest.mark.parametrize("form", ["segsort+", "segsort"])
def test_equal_to_loops(form, k):
    e, p, own, label = example()
    label[:2] = 254
    label[2] = 2
    label[3:] %= 2  # the third segment is the only one of its class
    kept = label[own] < 3
    relation = class_relation(label, 3)
    found = segsort(e[kept], p, own[kept], label[own][kept], relation, k, form)
    rows = [relation[label[own[i]]].tolist() for i in range(len(e)) if kept[i]]
    assert float(found.value) == pytest.approx(
        oracle(e[kept], p, own[kept].tolist(), rows, k, form == "segsort+"), rel=1e-9
    )


def test_two_classes_by_hand():
    """Segments of class 0 at 0 and 90 degrees, of class 1 at 180; one pixel at 0 degrees, in the first."""
    e, p = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    relation = class_relation(torch.tensor([0, 0, 1]), 2)
    zero = torch.tensor([0])
    plus = segsort(e, p, zero, zero, relation, 2.0)
    assert float(plus.value) == pytest.approx(-math.log(1 / (1 + math.exp(-2))), abs=1e-6)
    assert plus.chance == pytest.approx(math.log(2))
    plain = segsort(e, p, zero, zero, relation, 2.0, "segsort")
    assert float(plain.value) == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + math.exp(-2))), abs=1e-6)


@pytest.mark.parametrize(("positive", "negative"), [(1, 1), (4, 1), (2, 7)])
def test_equal_embeddings_give_ln_of_the_numbers(positive, negative):
    segments = 1 + positive + negative
    e, p = F.normalize(torch.ones(5, 4), dim=1), F.normalize(torch.ones(segments, 4), dim=1)
    label = torch.tensor([0] * (1 + positive) + [1] * negative)
    zero = torch.zeros(5, dtype=torch.int64)
    found = segsort(e, p, zero, zero, class_relation(label, 2), 8.0)
    assert float(found.value) == pytest.approx(math.log((positive + negative) / positive), rel=1e-5)
    assert found.chance == pytest.approx(float(found.value), rel=1e-5)


def test_a_class_of_one_segment_falls_back_on_it_by_count():
    """In single precision the sum over the positives less the own term is not zero but a residue."""
    e, p = unit(1, 5).float(), unit(4, 5, seed=1).float()
    p[0] = e[0]
    zero = torch.tensor([0])
    found = segsort(e, p, zero, zero, class_relation(torch.tensor([0, 1, 1, 1]), 2), 16.0)
    s = torch.exp(16 * (e @ p.T - 1))[0].double()
    assert float(found.value) == pytest.approx(-math.log(s[0] / s.sum()), abs=1e-6)


def test_gradients_reach_pixels_and_prototypes():
    e, p, own, label = example(8, 6)
    label[0] = 254
    kept = label[own] < 3

    def value(x, y):
        return segsort(x[kept], y, own[kept], label[own][kept], class_relation(label, 3), 4.0).value

    assert torch.autograd.gradcheck(value, (e.requires_grad_(), p.requires_grad_()))


def test_order_of_pixels_and_segments_and_names_of_classes_do_not_matter():
    e, p, own, label = example()
    expected = segsort(e, p, own, label[own], class_relation(label, 3), 6.0).value
    pixels, segments = (torch.randperm(n, generator=torch.Generator().manual_seed(n)) for n in (len(e), len(p)))
    where = segments.argsort()
    renamed = (label + 1) % 3
    found = segsort(
        e[pixels], p[segments], where[own[pixels]], renamed[own[pixels]], class_relation(renamed[segments], 3), 6.0
    )
    torch.testing.assert_close(found.value, expected)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunks_change_nothing(chunk):
    e, p, own, label = example()
    gradients = []
    for size in (None, chunk):
        x, y = e.clone().requires_grad_(), p.clone().requires_grad_()
        found = segsort(x, y, own, label[own], class_relation(label, 3), 6.0, chunk=size)
        found.value.backward()
        gradients.append((found.value.detach(), x.grad, y.grad))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_segments_without_a_label_have_no_part():
    e, p, own, label = example()
    expected = segsort(e, p, own, label[own], class_relation(label, 3), 6.0).value
    more = torch.cat([p, unit(4, 5, seed=9)]).requires_grad_()
    relation = class_relation(torch.cat([label, torch.tensor([254, 255, 254, 254])]), 3)
    found = segsort(e, more, own, label[own], relation, 6.0).value
    torch.testing.assert_close(found, expected)
    found.backward()
    assert float(more.grad[-4:].abs().max()) == 0


@pytest.mark.parametrize(
    "label", [[0, 0, 0], [254, 254, 254]], ids=["a batch of a single class", "nothing is labelled"]
)
def test_nothing_to_contrast_gives_zero_and_gradient_zero(label):
    e, p = unit(4, 5).requires_grad_(), unit(3, 5, seed=1).requires_grad_()
    label, own = torch.tensor(label), torch.tensor([0, 1, 2, 0])
    kept = label[own] < 1
    found = segsort(e[kept], p, own[kept], label[own][kept], class_relation(label, 1), 6.0)
    found.value.backward()
    assert found.chance == float(found.value.detach()) == float(e.grad.abs().sum()) == float(p.grad.abs().sum()) == 0


def test_sets_meet_or_are_disjoint():
    rows = torch.tensor([[1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    columns = torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    assert set_relation(rows, columns).tolist() == [[1, 1, 0], [1, -1, 0], [0, 0, 0]]


def test_the_form_for_sets_equals_loops():
    e, p, own, _ = example()
    tags = torch.from_numpy(np.random.default_rng(3).random((4, 3)) < 0.5)
    tags[0], tags[1], tags[2], tags[3] = (torch.tensor(t) for t in ([1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]))
    image = torch.arange(len(p)) % 4
    relation = set_relation(tags, tags[image])
    found = segsort(e, p, own, image[own], relation, 8.0)
    rows = [relation[image[own[i]]].tolist() for i in range(len(e))]
    assert float(found.value) == pytest.approx(oracle(e, p, own.tolist(), rows, 8.0), rel=1e-9)


def test_half_precision_computes_in_float32():
    e, p, own, label = example(60)
    half = e.bfloat16().requires_grad_()
    found = segsort(half, p.bfloat16(), own, label[own], class_relation(label, 3), 16.0).value
    whole = segsort(half.detach().float(), p.bfloat16().float(), own, label[own], class_relation(label, 3), 16.0).value
    assert found.dtype == torch.float32
    assert float(found.detach()) == pytest.approx(float(whole), rel=1e-6)
    found.backward()
    assert half.grad.isfinite().all()


def test_opposite_vectors_at_the_largest_concentration_stay_finite():
    e = torch.tensor([[1.0, 0.0]]).requires_grad_()
    p = torch.tensor([[-1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    zero = torch.tensor([0])
    found = segsort(e, p, zero, zero, class_relation(torch.tensor([0, 0, 1]), 2), 40.0).value
    found.backward()
    assert float(found.detach()) == pytest.approx(80, rel=1e-5)
    assert e.grad.isfinite().all()


@pytest.mark.parametrize("k", [0.0, -1.0, 41.0, math.nan])
def test_a_concentration_out_of_range_is_refused(k):
    e, p, own, label = example()
    with pytest.raises(ValueError, match=r"got concentration .*, expected in \(0, 40\]"):
        segsort(e, p, own, label[own], class_relation(label, 3), k)
