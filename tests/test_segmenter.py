import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from pixgraph import FewShotSegmenter
from pixgraph.config import BackboneConfig, GraphConfig
from pixgraph.errors import CheckpointError, ConfigError, DataError, DependencyError, NotFittedError
from pixgraph.inputs import as_list, at_size, shrink_mask
from pixgraph.methods import METHODS, open_method

TRAINING_FREE = [name for name in METHODS if name != "graph"]


def scene(seed, colours=((230, 40, 40),), height=60, width=80):
    """Squares of the colours, side by side, on noise: picture and mask with ids 1, 2, ..."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.uint8)
    step = width // len(colours)
    for number, colour in enumerate(colours):
        row, column = rng.integers(0, height - 30), number * step + rng.integers(0, step - 28)
        rgb[row : row + 28, column : column + 28] = colour
        mask[row : row + 28, column : column + 28] = number + 1
    return rgb, mask


def iou(one, two):
    return (one & two).sum() / (one | two).sum()


@pytest.fixture
def segmenter():
    return FewShotSegmenter("prototype", size=64, device="cpu")


def test_four_lines_from_pictures_to_masks():
    rgb, mask = scene(0)
    query, truth = scene(1, height=70, width=50)
    masks = FewShotSegmenter("prototype", size=64, device="cpu").fit(rgb, mask).predict(query)
    assert (len(masks), masks[0].shape, masks[0].dtype) == (1, (70, 50), np.uint8)
    assert iou(masks[0] == 1, truth == 1) > 0.5


@pytest.mark.parametrize("method", TRAINING_FREE)
def test_every_method_answers_alike_twice_and_sums_to_one(method):
    graph = GraphConfig(dilations=[1])
    segmenter = FewShotSegmenter(method, size=64, graph=graph, device="cpu").fit(*scene(0))
    query = scene(1)[0]
    one, two = segmenter.predict_proba(query)[0], segmenter.predict_proba(query)[0]
    assert (one.shape, one.dtype) == ((2, 60, 80), np.float32)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(segmenter.predict(query)[0], segmenter.mask_of(one))


def test_a_picture_does_not_depend_on_its_company(segmenter):
    segmenter.fit(*scene(0))
    queries = [scene(k)[0] for k in (1, 2, 3)]
    together = segmenter.predict(queries)
    for query, mask in zip(reversed(queries), reversed(together), strict=True):
        np.testing.assert_array_equal(segmenter.predict(query)[0], mask)


def test_any_class_ids_come_back(segmenter):
    rgb, mask = scene(0, ((230, 40, 40), (40, 40, 230)), width=120)
    ids = np.array([0, 7, 200], np.uint8)
    segmenter.fit(rgb, ids[mask], {7: "apple"})
    assert (segmenter.classes_, segmenter.class_names_) == ([7, 200], {7: "apple", 200: "class 200"})
    found = segmenter.predict(rgb)[0]
    assert set(np.unique(found)) == {0, 7, 200}
    assert iou(found == 7, mask == 1) > 0.5
    assert iou(found == 200, mask == 2) > 0.5


def test_the_order_of_supports_and_refitting(segmenter):
    first, second = scene(0), scene(1, ((40, 40, 230),))
    segmenter.fit(*second).fit(*first)
    fresh = FewShotSegmenter("prototype", size=64, device="cpu").fit(*first)
    np.testing.assert_array_equal(segmenter.predict(second[0])[0], fresh.predict(second[0])[0])


def test_all_forms_of_pictures_and_masks_mean_the_same(segmenter, tmp_path):
    rgb, mask = scene(0)
    Image.fromarray(rgb).save(tmp_path / "x.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    pictures = [
        rgb,
        tmp_path / "x.png",
        str(tmp_path / "x.png"),
        Image.fromarray(rgb),
        torch.from_numpy(rgb).permute(2, 0, 1),
        torch.from_numpy(rgb).permute(2, 0, 1).float() / 255,
        [rgb],
        rgb[None],
    ]
    masks = [
        mask,
        tmp_path / "m.png",
        mask > 0,
        Image.fromarray(mask),
        torch.from_numpy(mask).long(),
        [mask],
        mask[None],
    ]
    expected = segmenter.fit(rgb, mask).predict_proba(rgb)[0]
    for picture in pictures:
        np.testing.assert_array_equal(segmenter.fit(picture, mask).predict_proba(picture)[0], expected)
    for form in masks:
        np.testing.assert_array_equal(segmenter.fit(rgb, form).predict_proba(rgb)[0], expected)


def test_batches_and_iterators_are_several_pictures(segmenter):
    pairs = [scene(k) for k in range(3)]
    images, masks = np.stack([p for p, _ in pairs]), np.stack([m for _, m in pairs])
    expected = segmenter.fit(list(images), list(masks)).predict(list(images))
    assert len(expected) == 3
    np.testing.assert_array_equal(segmenter.fit(images, masks).predict(images), expected)
    np.testing.assert_array_equal(segmenter.fit(iter(images), torch.from_numpy(masks)).predict(iter(images)), expected)


def test_one_picture_is_one_picture():
    assert len(as_list(np.zeros((8, 9, 3)))) == 1
    assert len(as_list(np.zeros((8, 9)))) == 1
    assert len(as_list(np.zeros((1, 9, 7)), mask=True)) == 1
    assert len(as_list(np.zeros((4, 9, 7)), mask=True)) == 4
    assert as_list("a.png") == ["a.png"]


def test_marks_are_enough(segmenter):
    rgb, truth = scene(0)
    rows, columns = np.nonzero(truth)
    marks = np.full_like(truth, 255)
    marks[rows[300] : rows[300] + 4, columns[300] : columns[300] + 4] = 1
    marks[-4:, :4] = marks[:4, -4:] = 0
    found = segmenter.fit(rgb, marks).predict(rgb)[0]
    assert iou(found == 1, truth == 1) > 0.4


def test_a_mark_never_vanishes_when_pictures_shrink():
    big = np.zeros((1000, 800), np.uint8)
    big[503, 411] = 3
    big[10:20, 10:20] = 255
    small = shrink_mask(big, (32, 32))
    assert (small == 3).sum() == 1
    assert small[503 * 32 // 1000, 411 * 32 // 800] == 3
    assert set(np.unique(small)) <= {0, 3, 255}


def test_resizing_keeps_probabilities():
    values = torch.rand(3, 8, 8).softmax(0)
    large = at_size(values, (21, 13))
    assert large.shape == (3, 21, 13)
    torch.testing.assert_close(large.sum(0), torch.ones(21, 13))
    assert at_size(values, (8, 8)) is values


def test_unlabelled_pictures_are_taken(segmenter):
    rgb, mask = scene(0)
    segmenter.fit(rgb, mask, unlabelled=[scene(4)[0], scene(5)[0]])
    assert segmenter.predict(rgb)[0].shape == mask.shape


def test_repr_and_description_say_what_it_is(segmenter):
    assert repr(segmenter) == "FewShotSegmenter(method='prototype', backbone='filters', not fitted)"
    segmenter.fit(*scene(0))
    assert repr(segmenter).endswith("classes=[1], supports=1)")
    assert segmenter.description()["method"] == "prototype"


def test_nothing_before_fit(segmenter):
    with pytest.raises(NotFittedError, match=r"has seen no labelled picture yet; call fit\(images, masks\) first"):
        segmenter.predict(scene(0)[0])


@pytest.mark.parametrize(
    ("images", "masks", "words"),
    [
        ([], [], "got 0 pictures and 0 masks, expected one mask a picture"),
        ([scene(0)[0]], [], "got 1 pictures and 0 masks"),
        (scene(0)[0], np.zeros((60, 81), np.uint8), "mask 0: got 60 x 81 pixels, expected its picture's 60 x 80"),
        (scene(0)[0], np.zeros((60, 80), np.uint8), "none of the 1 masks shows a class; expected class ids in 1..253"),
        (scene(0)[0], np.full((60, 80), 255, np.uint8), "255 means unknown: pass mask > 0 where it marks the object"),
        (scene(0)[0], np.full((60, 80), 300), r"mask: got numbers 300\.\.300, expected class ids in 0\.\.255"),
        (scene(0)[0], np.full((60, 80), 0.5), "mask: got fractions, expected whole numbers"),
        (np.zeros((60, 80, 7)), np.zeros((60, 80)), r"got shape \(60, 80, 7\), expected \(H, W\)"),
        (7, [np.zeros((60, 80))], "got int, expected a path, a PIL image, an array, a tensor, or a list of them"),
        ([7], [np.zeros((60, 80))], "got int, expected a path, a PIL image, a NumPy array or a tensor"),
        ("nowhere.png", np.zeros((60, 80)), "nowhere.png: no such file"),
    ],
)
def test_bad_supports_are_explained(segmenter, images, masks, words):
    with pytest.raises(DataError, match=words):
        segmenter.fit(images, masks)


def test_a_failed_fit_changes_nothing(segmenter):
    rgb, mask = scene(0)
    before = segmenter.fit(rgb, mask).predict(rgb)[0]
    with pytest.raises(DataError, match="no such file"):
        segmenter.fit([rgb, "nowhere.png"], [mask, mask])
    np.testing.assert_array_equal(segmenter.predict(rgb)[0], before)


def test_unknown_settings_are_explained():
    with pytest.raises(ConfigError, match="method: got 'magic', expected one of graph, propagate, prototype"):
        FewShotSegmenter("magic")
    with pytest.raises(ConfigError, match=r"backbone\.size: got 8, expected a whole number in \[32, 4096\]"):
        FewShotSegmenter("prototype", size=8)
    with pytest.raises(ConfigError, match=r"backbone\.name 'alexnet' is unknown; expected one of filters"):
        FewShotSegmenter("prototype", "alexnet")
    with pytest.raises(ConfigError, match="method 'graph' needs a trained run"):
        FewShotSegmenter("graph")
    with pytest.raises(ConfigError, match="method 'knn' is not trained, yet got checkpoint x"):
        FewShotSegmenter("knn", checkpoint="x")
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda, cuda:INDEX or mps"):
        FewShotSegmenter("knn", device="gpu")


def test_missing_weights_and_runs_are_explained(tmp_path):
    with pytest.raises(CheckpointError, match=r"no run or checkpoint at .*nowhere"):
        FewShotSegmenter.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"nowhere\.pth"):
        FewShotSegmenter("prototype", "mobilenet_v2", weights=str(tmp_path / "nowhere.pth"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_explained():
    with pytest.raises(DependencyError, match=r"device: got 'cuda'.*use --device cpu"):
        FewShotSegmenter("prototype", device="cuda")


def test_methods_are_opened_with_their_backbone():
    method = open_method("linear", BackboneConfig(size=64), GraphConfig())
    assert (method.predictor.name, method.store.size, method.trained) == ("linear", 64, None)


def test_the_package_itself_loads_without_torch():
    code = "import sys, pixgraph; assert 'torch' not in sys.modules; assert callable(pixgraph.FewShotSegmenter)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", ["points", "scribbles", "boxes"])
def test_marks_in_place_of_masks(kind):
    rgb, mask = scene(0)
    rows, columns = np.nonzero(mask)
    top, left = int(rows.min()), int(columns.min())
    inside = [(left + x, top + y, 1) for x, y in ((6, 6), (21, 6), (14, 14), (6, 21), (21, 21))]
    outside = [(0, 0, 0), (79, 59, 0), (0, 59, 0), (79, 0, 0), (40, 0, 0)]
    line = [((left + 5, top + 14), (left + 22, top + 14))]
    marks = {
        "points": [inside + outside],
        "scribbles": [[(line[0], 1, 3), (((0, 0), (79, 0), (79, 59), (0, 59)), 0)]],
        "boxes": [[(left, top, left + 28, top + 28, 1)]],
    }[kind]
    segmenter = FewShotSegmenter("propagate", size=64, graph=GraphConfig(dilations=[1]), device="cpu")
    query, truth = scene(1)
    weak = segmenter.fit([rgb], **{kind: marks}).predict(query)[0]
    assert segmenter.classes_ == [1]
    assert iou(weak == 1, truth == 1) > 0.5
    whole = segmenter.fit([rgb, rgb], [mask, None], **{kind: [None, *marks]}).predict(query)[0]
    assert iou(whole == 1, truth == 1) > 0.5


def test_marks_with_tiles():
    rgb, mask = scene(0, height=120, width=160)
    rows, columns = np.nonzero(mask)
    top, left = int(rows.min()), int(columns.min())
    segmenter = FewShotSegmenter("prototype", size=64, device="cpu", tile=64)
    segmenter.fit(rgb, boxes=[(left, top, left + 28, top + 28, 7)])
    assert segmenter._tile_support[0].rough.any()
    assert (segmenter.predict(rgb)[0][mask > 0] == 7).mean() > 0.5
    segmenter.fit(rgb, points=[(left + 14, top + 14, 7), (0, 0, 0)])
    assert set(segmenter.predict(rgb)[0].ravel()) <= {0, 7}


def test_every_mark_survives_the_working_size():
    label = np.full((1000, 800), 254, np.uint8)
    label[503, 411], label[10, 10], label[999, 799], label[12, 12] = 3, 0, 0, 2
    small = shrink_mask(label, (32, 32))
    expected = np.full((32, 32), 254, np.uint8)
    expected[16, 16], expected[0, 0], expected[31, 31] = 3, 2, 0  # a class before the background
    np.testing.assert_array_equal(small, expected)
