"""The feature-level baselines: answers known in advance, invariances, and supports with nothing in them."""

import numpy as np
import pytest
import torch
from tiny_world import tiny_picture

from pixgraph.data.picture import FewShotTask
from pixgraph.evaluation.baselines import (
    AllBackground,
    KnnPropagation,
    LinearClassifier,
    NearestPrototype,
    trivial_baselines,
)
from pixgraph.evaluation.cells import cell_features, support_cells, to_pixels
from pixgraph.evaluation.logistic import fit_softmax
from pixgraph.models.predictor import Predictor

LEARNERS = [NearestPrototype(), KnnPropagation(k=4), LinearClassifier()]
NAMES = [m.name for m in LEARNERS]
COLOURS = torch.tensor([[128, 128, 128], [230, 30, 30], [30, 30, 230]], dtype=torch.uint8)


def photo(key, boxes, seed, size=64):
    """A grey, noisy picture with coloured boxes; its label is the truth."""
    label = torch.zeros(size, size, dtype=torch.int64)
    for way, (top, left) in boxes.items():
        label[top : top + 24, left : left + 24] = way
    noise = torch.randint(-15, 16, (size, size, 3), generator=torch.Generator().manual_seed(seed))
    rgb = (COLOURS[label].int() + noise).clamp(0, 255).to(torch.uint8)
    return tiny_picture(rgb, key, (size, size), label)


def task(n_way=2, shots=1):
    support = [
        photo(f"s{way}{k}", {way: (8, 8 * k)}, 10 * way + k) for way in range(1, n_way + 1) for k in range(shots)
    ]
    return FewShotTask(n_way, support, [photo("q", {1: (0, 32), 2: (32, 0)} if n_way == 2 else {1: (16, 32)}, 99)])


@pytest.mark.parametrize("method", LEARNERS, ids=NAMES)
@pytest.mark.parametrize(("n_way", "shots"), [(1, 1), (1, 5), (2, 1), (2, 3)])
def test_finds_objects_that_features_tell_apart(method, n_way, shots):
    few_shot = task(n_way, shots)
    (answer,) = method.predict(few_shot)
    assert isinstance(method, Predictor)
    assert answer.shape == (n_way + 1, 64, 64)
    assert answer.dtype == torch.float32
    torch.testing.assert_close(answer.sum(0), torch.ones(64, 64))
    assert (answer >= 0).all()
    assert (answer.argmax(0) == few_shot.query[0].label).float().mean() > 0.9


@pytest.mark.parametrize("method", LEARNERS, ids=NAMES)
def test_same_task_same_answer_also_in_inference_mode(method):
    few_shot = task()
    first = method.predict(few_shot)[0]
    with torch.inference_mode():
        again = method.predict(few_shot)[0]
    assert torch.equal(first, again.clone())


@pytest.mark.parametrize("method", LEARNERS, ids=NAMES)
def test_swapping_the_ways_swaps_the_answer(method):
    few_shot = task()
    swapped = task()
    for picture in swapped.support:
        picture.label = torch.tensor([0, 2, 1])[picture.label]
    torch.testing.assert_close(method.predict(few_shot)[0][[0, 2, 1]], method.predict(swapped)[0], atol=2e-3, rtol=0)


@pytest.mark.parametrize("method", LEARNERS, ids=NAMES)
def test_labels_of_query_and_ignored_pixels_are_not_read(method):
    few_shot, other = task(1), task(1)
    other.query[0].label = None
    assert torch.equal(method.predict(few_shot)[0], method.predict(other)[0])
    for key in ("a", "b"):
        # What lies under 255 must not matter: its cells are left out, whatever colour they have.
        picture = photo(key, {}, 5)
        colour = {"a": 0.0, "b": 1.0}[key]
        picture.features = [torch.full_like(f, colour) for f in picture.features]
        picture.label = torch.full_like(picture.label, 255)
        other.support = [few_shot.support[0], picture]
        torch.testing.assert_close(method.predict(other)[0], method.predict(few_shot)[0])


@pytest.mark.parametrize("method", LEARNERS, ids=NAMES)
@pytest.mark.parametrize("value", [0, 1, 255])
def test_supports_of_one_label_only(method, value):
    few_shot = task(1)
    few_shot.support[0].label = torch.full((64, 64), value)
    (answer,) = method.predict(few_shot)
    assert torch.isfinite(answer).all()
    torch.testing.assert_close(answer.sum(0), torch.ones(64, 64))
    assert (answer.argmax(0) == (1 if value == 1 else 0)).all()


@pytest.mark.parametrize("method", LEARNERS, ids=NAMES)
def test_a_one_pixel_mask_is_used(method):
    few_shot = task(1)
    label = torch.zeros(64, 64, dtype=torch.int64)
    label[20, 12] = 1
    few_shot.support[0].label = label
    assert method.predict(few_shot)[0][1].max() > 0


def test_all_background_is_background():
    (answer,) = AllBackground().predict(task(2))
    assert (answer[0] == 1).all()
    assert (answer[1:] == 0).all()


def test_all_baselines_are_listed_by_their_own_name():
    assert list(trivial_baselines()) == ["all-background", "prototype", "knn", "linear"]


def test_cell_features_are_unit_vectors_on_a_grid_that_covers_the_picture():
    picture = photo("x", {1: (0, 0)}, 1)
    cells = cell_features(picture, stride=8)
    assert cells.shape == (8, 8, 8)
    torch.testing.assert_close(cells.norm(dim=-1), torch.ones(8, 8))
    assert cell_features(picture, stride=7).shape == (10, 10, 8)


@pytest.mark.parametrize("limit", [1, 7, 40, 64, 200])
def test_support_cells_keep_foreground_first_and_some_background(limit):
    few_shot = task(1)
    everything = support_cells(few_shot, 8)
    cells = support_cells(few_shot, 8, limit)
    total, foreground = len(everything.shares), int((everything.shares[:, 0] < 1).sum())
    kept = int((cells.shares[:, 0] < 1).sum())
    assert len(cells.shares) == min(limit, total)
    assert kept == min(foreground, limit - min(total - foreground, limit // 4)) or limit >= total


def test_a_support_without_label_is_refused():
    few_shot = task(1)
    few_shot.support[0].label = None
    with pytest.raises(ValueError, match="support picture 's10' has no label"):
        support_cells(few_shot)


def test_to_pixels_keeps_sums_and_constants():
    cells = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(0)).softmax(-1)
    pixels = to_pixels(cells, (17, 23))
    torch.testing.assert_close(pixels.sum(0), torch.ones(17, 23))
    torch.testing.assert_close(to_pixels(torch.full((2, 2, 1), 0.3), (6, 6)), torch.full((1, 6, 6), 0.3))


def test_logistic_regression_reaches_the_minimum_that_autograd_confirms():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    target = torch.rand(50, 3, generator=generator, dtype=torch.float64) / 75
    weight, bias = (t.clone().requires_grad_() for t in fit_softmax(x, target, 1e-2, 200))
    loss = -(target * (x @ weight.T + bias).log_softmax(1)).sum() + 1e-2 / 2 * weight.square().sum()
    loss.backward()
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 1e-5


def test_knn_with_one_neighbour_copies_the_nearest_label():
    few_shot = task(1)
    method = KnnPropagation(k=1)
    cells = support_cells(few_shot, 8)
    query = cell_features(few_shot.query[0], 8)
    nearest = [int(np.argmax(cells.features.numpy() @ q)) for q in query.flatten(0, 1).numpy()]
    expected = to_pixels(cells.shares[nearest].view(8, 8, 2), (64, 64))
    torch.testing.assert_close(method.predict(few_shot)[0], expected)
