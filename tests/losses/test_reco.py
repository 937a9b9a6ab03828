"""ReCo against loops in NumPy with the same draws, its closed forms, and what may not have any influence."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.losses.reco import contrast, reco_loss
from pixgraph.losses.reco_draws import PixelDraws, class_means, class_relation, draw_pixels, find_regions


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def example(b=2, d=6, h=5, w=7, classes=4, seed=0):
    """A batch with two unlabelled, two ignored and some invalid pixels."""
    made = np.random.default_rng(seed)
    representation = torch.from_numpy(made.standard_normal((b, d, h, w)))
    label = torch.from_numpy(made.integers(classes, size=(b, h, w)))
    label[0, 0, :4] = torch.tensor([254, 254, 255, 255])
    valid = torch.from_numpy(made.random((b, h, w)) < 0.8)
    probability = torch.from_numpy(made.random((b, classes, h, w)))
    return representation, label, valid, probability / probability.sum(1, keepdim=True)


def oracle(representation, label, valid, probability, draws, t):
    """The formula, pixel by pixel; checks on the way that every draw is a legal one."""
    d, classes = representation.shape[1], probability.shape[1]
    x = representation.detach().permute(0, 2, 3, 1).reshape(-1, d).double().numpy()
    y, ok = label.flatten().numpy(), valid.flatten().numpy()
    p = probability.permute(0, 2, 3, 1).reshape(-1, classes).numpy()
    members = {c: [i for i in range(len(y)) if ok[i] and y[i] == c] for c in range(classes)}
    present = [c for c in range(classes) if members[c]]
    means = {c: x[members[c]].mean(0) for c in present}

    def cos(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    total = 0.0
    for row, queries, negatives in zip(*draws, strict=True):
        c, losses = present[int(row)], []
        for q, keys in zip(queries.tolist(), negatives.tolist(), strict=True):
            assert q in members[c]
            assert p[q, c] < 0.97
            assert all(y[k] != c and k in members[y[k]] for k in keys)
            up = math.exp(cos(x[q], means[c]) / t)
            losses.append(-math.log(up / (up + sum(math.exp(cos(x[q], x[k]) / t) for k in keys))))
        total += np.mean(losses)
    return total / len(present)


def draws_of(parts, seed, queries=6, negatives=5, t=0.5, threshold=0.97):
    """What `reco_loss` draws with this seed."""
    representation, label, valid, probability = parts
    vectors = representation.movedim(1, -1).flatten(0, -2)
    regions = find_regions(label.flatten(), valid.flatten(), probability.movedim(1, -1).flatten(0, -2), threshold)
    relation = class_relation(class_means(vectors, regions), t)
    return regions, draw_pixels(regions, relation, queries, negatives, rng(seed))


@pytest.mark.parametrize(("t", "seed"), [(0.5, 0), (0.1, 1), (1.0, 2)])
def test_equal_to_loops_with_the_same_draws(t, seed):
    parts = example(seed=seed)
    term = reco_loss(*parts, generator=rng(seed), temperature=t, num_queries=6, num_negatives=5)
    _, draws = draws_of(parts, seed, t=t)
    assert float(term.value) == pytest.approx(oracle(*parts, draws, t), rel=1e-9)
    assert (term.present, term.skipped) == (4, 0)


def two_classes(second, pixels=8, d=3):
    """Half the pixels point along the first axis, the others along `second`; all are hard."""
    vectors = torch.zeros(pixels, d)
    vectors[: pixels // 2, 0] = 1
    vectors[pixels // 2 :] = torch.tensor(second)
    label = (torch.arange(pixels) >= pixels // 2).long()
    return vectors, label, torch.ones(pixels, dtype=torch.bool), torch.full((pixels, 2), 0.5)


@pytest.mark.parametrize(
    ("second", "cosine"), [([0.0, 2.0, 0.0], 0), ([-3.0, 0.0, 0.0], -1), ([1.0, 1.0, 0.0], 0.5**0.5)]
)
def test_two_classes_by_hand(second, cosine):
    """Each query agrees with its class mean and has `cosine` with all 512 negatives."""
    term = reco_loss(*two_classes(second), generator=rng())
    assert float(term.value) == pytest.approx(math.log(1 + 512 * math.exp((cosine - 1) / 0.5)), rel=1e-5)


def test_the_lower_bound_is_2_34():
    term = reco_loss(*two_classes([-1.0, 0.0, 0.0]), generator=rng())
    assert float(term.value) == pytest.approx(math.log(1 + 512 * math.exp(-4)), rel=1e-5)
    assert round(float(term.value), 2) == 2.34


def test_a_class_mean_is_the_mean_of_vectors_as_they_are():
    """(1, 0) and (0, 3) have the mean (0.5, 1.5), whose cosine with (1, 0) is 1 / sqrt(10)."""
    vectors = torch.tensor([[1.0, 0.0], [0.0, 3.0], [0.0, -1.0]])
    label, valid = torch.tensor([0, 0, 1]), torch.ones(3, dtype=torch.bool)
    probability = torch.tensor([[0.1, 0.9], [0.99, 0.01], [0.01, 0.99]])  # the first pixel is the only hard one
    term = reco_loss(vectors, label, valid, probability, generator=rng(), num_negatives=1)
    expected = math.log(1 + math.exp((0 - 10**-0.5) / 0.5)) / 2  # one of two classes is skipped, and divides
    assert float(term.value) == pytest.approx(expected, rel=1e-6)
    assert (term.present, term.skipped) == (2, 1)


def test_collapse_gives_ln_513():
    _, label, valid, probability = example()
    term = reco_loss(torch.ones(2, 6, 5, 7), label, valid, probability, generator=rng())
    assert float(term.value) == pytest.approx(math.log(513), rel=1e-5)
    assert term.chance == pytest.approx(math.log(513))


def test_skipped_classes_divide_and_lower_the_chance_value():
    representation, label, valid, probability = example()
    probability = probability.clone()
    probability[:, 2] = 0.98
    term = reco_loss(torch.ones_like(representation), label, valid, probability, generator=rng(), num_negatives=9)
    assert (term.present, term.skipped) == (4, 1)
    assert float(term.value) == pytest.approx(3 / 4 * math.log(10)) == pytest.approx(term.chance)


@pytest.mark.parametrize("case", ["one class", "no hard pixel", "nothing valid", "all unlabelled", "no pixels"])
def test_nothing_to_compare_gives_zero_and_gradient_zero(case):
    representation, label, valid, probability = example()
    if case == "one class":
        label = torch.where(label < 254, 1, label)
    elif case == "no hard pixel":
        probability = torch.ones_like(probability)
    elif case == "nothing valid":
        valid = torch.zeros_like(valid)
    elif case == "all unlabelled":
        label = torch.full_like(label, 254)
    else:
        representation, label, valid, probability = (t[:0] for t in (representation, label, valid, probability))
    representation.requires_grad_()
    term = reco_loss(representation, label, valid, probability, generator=rng())
    term.value.backward()
    assert term.value.item() == float(representation.grad.abs().sum()) == term.chance == 0
    assert term.present == {"one class": 1, "no hard pixel": 4}.get(case, 0)


def test_unlabelled_and_ignored_and_invalid_pixels_have_no_influence():
    representation, label, valid, probability = example()
    expected = reco_loss(representation, label, valid, probability, generator=rng())
    outside = (label >= 254) | ~valid
    changed = torch.where(outside[:, None], torch.nan, representation)
    other = torch.where(outside, torch.where(label == 254, 255, 254), label)
    other[~valid] = 254
    term = reco_loss(changed, other, valid | (label == 255), probability, generator=rng())
    torch.testing.assert_close(term.value, expected.value)
    assert term[1:] == expected[1:]


def test_only_queries_get_a_gradient():
    """One pixel is hard: it alone moves, though all others are keys or make up the means."""
    representation, label, valid, probability = example()
    probability = torch.ones_like(probability).requires_grad_()
    place = tuple((valid & (label == 1)).nonzero()[0].tolist())
    with torch.no_grad():
        probability[place[0], :, place[1], place[2]] = 0.1
    representation.requires_grad_()
    reco_loss(representation, label, valid, probability, generator=rng()).value.backward()
    moved = representation.grad.abs().sum(1) > 0
    assert moved.nonzero().tolist() == [list(place)]
    assert probability.grad is None


def test_the_gradient_is_that_of_the_formula_with_fixed_keys():
    representation, label, valid, probability = example()
    representation.requires_grad_()
    reco_loss(
        representation, label, valid, probability, generator=rng(3), num_queries=6, num_negatives=5
    ).value.backward()
    regions, draws = draws_of((representation.detach(), label, valid, probability), 3)
    x = representation.detach().movedim(1, -1).flatten(0, -2).requires_grad_()
    fixed = x.detach()
    means, total = class_means(fixed, regions), 0.0
    for row, queries, negatives in zip(*draws, strict=True):
        keys = torch.cat([means[row].expand(6, 1, -1), fixed[negatives]], 1)
        logits = F.cosine_similarity(x[queries][:, None], keys, dim=2) / 0.5
        total = total + F.cross_entropy(logits, torch.zeros(6, dtype=torch.int64)) / 4
    total.backward()
    torch.testing.assert_close(representation.grad, x.grad.view(2, 5, 7, 6).movedim(-1, 1))


def test_gradcheck():
    parts = example(1, 3, 4, 4, 3)
    regions, draws = draws_of(parts, 0, 2, 3)
    vectors = parts[0].movedim(1, -1).flatten(0, -2)
    means = class_means(vectors, regions)
    queries = vectors[draws.queries].requires_grad_()
    assert torch.autograd.gradcheck(lambda q: contrast(q, vectors, means, draws, 0.5), [queries])


def test_names_of_classes_and_order_of_pixels_do_not_matter():
    """The same draws, told in other numbers, give the same loss."""
    representation, label, valid, probability = example()
    vectors = representation.movedim(1, -1).flatten(0, -2)
    regions, draws = draws_of((representation, label, valid, probability), 0)
    expected = contrast(vectors[draws.queries], vectors, class_means(vectors, regions), draws, 0.5)

    renamed, moved = torch.tensor([2, 0, 3, 1]), torch.randperm(len(vectors), generator=rng())
    back = moved.argsort()
    flat = label.flatten()[moved]
    flat = torch.where(flat < 254, renamed[flat.clamp(max=3)], flat)
    chances = probability.movedim(1, -1).flatten(0, -2)[moved][:, renamed.argsort()]
    other = find_regions(flat, valid.flatten()[moved], chances, 0.97)
    assert other.counts.tolist() == regions.counts[renamed.argsort()].tolist()
    assert other.hard_counts.tolist() == regions.hard_counts[renamed.argsort()].tolist()
    told = PixelDraws(renamed[draws.rows], back[draws.queries], back[draws.negatives])
    turned = vectors[moved]
    torch.testing.assert_close(contrast(turned[told.queries], turned, class_means(turned, other), told, 0.5), expected)


def test_a_map_and_its_pixels_give_the_same():
    representation, label, valid, probability = example()
    expected = reco_loss(representation, label, valid, probability, generator=rng())
    rows = [t.movedim(1, -1).flatten(0, -2) for t in (representation, probability)]
    flat = reco_loss(rows[0], label.flatten(), valid.flatten(), rows[1], generator=rng())
    torch.testing.assert_close(flat.value, expected.value)
    strided = representation.contiguous(memory_format=torch.channels_last)
    last = reco_loss(strided, label, valid, probability, generator=rng())
    torch.testing.assert_close(last.value, expected.value)


def test_the_generator_alone_decides():
    parts, state = example(), torch.random.get_rng_state()
    one, two, other = (reco_loss(*parts, generator=rng(seed)).value for seed in (0, 0, 1))
    assert one == two != other
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_float32(dtype):
    representation, label, valid, probability = example()
    half = representation.to(dtype).requires_grad_()
    term = reco_loss(half, label, valid, probability, generator=rng())
    exact = reco_loss(half.detach().float(), label, valid, probability, generator=rng())
    assert term.value.dtype == torch.float32
    assert term.value.item() == pytest.approx(exact.value.item(), rel=1e-6)
    term.value.backward()
    assert half.grad.isfinite().all()


def test_autocast_keeps_float32():
    representation, *rest = example()
    expected = reco_loss(representation.float(), *rest, generator=rng())
    with torch.autocast("cpu", torch.bfloat16):
        term = reco_loss(representation.float(), *rest, generator=rng())
    assert float(term.value) == float(expected.value)


def test_refuses_what_does_not_fit():
    representation, label, valid, probability = example()
    with pytest.raises(ValueError, match=r"reco_loss: got .*\(2, 6, 5, 7\), \(2, 5, 7\), \(2, 5, 6\).*of one size"):
        reco_loss(representation, label, valid[:, :, 1:], probability, generator=rng())
    with pytest.raises(ValueError, match=r"of one size, or \(N, D\)"):
        reco_loss(representation[0], label[0], valid[0], probability[0], generator=rng())
    for wrong in (4, 253, -1, 256):
        label[1, 2, 3] = wrong
        with pytest.raises(ValueError, match=rf"got label {wrong}, expected 0\.\.3, 254 .unlabelled. or 255"):
            reco_loss(representation, label, valid, probability, generator=rng())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same():
    parts = [t.float() if t.is_floating_point() else t for t in example()]
    here = reco_loss(*parts, generator=rng())
    there = reco_loss(*(t.cuda() for t in parts), generator=rng())
    torch.testing.assert_close(there.value.cpu(), here.value)
