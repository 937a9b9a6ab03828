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
        (
            scene(0)[0],
            np.zeros((60, 80), np.uint8),
            "none of the 1 labelled pictures shows a class; expected class ids in 1..253",
        ),
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


@pytest.mark.parametrize("swapped", [False, True])
def test_classes_that_share_a_pixel_of_the_working_size_both_stay(swapped):
    one, two = (2, 1) if swapped else (1, 2)
    label = np.full((800, 800), 254, np.uint8)
    label[409, 409], label[410, 410], label[50, 50] = one, two, 0
    small = shrink_mask(label, (64, 64))
    expected = np.full((64, 64), 254, np.uint8)
    expected[32, 32], expected[31, 32], expected[4, 4] = one, two, 0  # the first mark stays, the other moves by one
    np.testing.assert_array_equal(small, expected)


def test_marks_that_are_crowded_all_stay_whatever_their_ids():
    label = np.full((320, 320), 254, np.uint8)
    label[100:103, 100:110] = np.arange(30).reshape(3, 10)
    label[200:204, 200:204] = 255
    small = shrink_mask(label, (32, 32))
    assert set(np.unique(small)) >= set(range(30))
    table = np.arange(256, dtype=np.uint8)
    table[1:30] = np.random.default_rng(0).permutation(np.arange(1, 30))
    np.testing.assert_array_equal(shrink_mask(table[label], (32, 32)), table[small])


def test_small_objects_of_full_masks_both_stay_whatever_their_ids():
    mask = np.zeros((800, 800), np.uint8)
    mask[402:404, 402:404], mask[402:404, 405:407] = 1, 2
    small = shrink_mask(mask, (64, 64))
    assert [(small == c).sum() for c in (1, 2)] == [1, 1]
    table = np.array([0, 2, 1], np.uint8)
    np.testing.assert_array_equal(shrink_mask(table[mask], (64, 64)), table[small])


def test_marks_that_nearly_coincide_teach_both_classes(segmenter):
    rgb = scene(0, height=400, width=400)[0]
    points = [(209, 209, 1), (210, 210, 2), (50, 50, 0)]
    one = segmenter.fit(rgb, points=points).predict_proba(rgb)[0]
    two = segmenter.fit(rgb, points=[(x, y, 3 - c if c else 0) for x, y, c in points]).predict_proba(rgb)[0]
    np.testing.assert_allclose(one, two[[0, 2, 1]], atol=1e-5)


def test_a_failing_fit_leaves_the_segmenter_as_it_was(segmenter):
    first, second = scene(0), scene(1, ((40, 40, 230),))
    expected = segmenter.fit(*first).predict_proba(first[0])[0]
    with pytest.raises(ConfigError, match=r"class_names: got \['x'\], expected a mapping of class ids to names"):
        segmenter.fit(*second, class_names=["x"])
    with pytest.raises(DataError, match=r"nowhere\.png: no such file"):
        segmenter.fit(*second, unlabelled=[first[0], "nowhere.png"])
    np.testing.assert_array_equal(segmenter.predict_proba(first[0])[0], expected)
    assert segmenter.classes_ == [1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 64.0}, r"size: got 64\.0, expected a whole number"),
        ({"size": None}, "size: got None, expected a whole number"),
        ({"seed": 1.5}, r"seed: got 1\.5, expected a whole number"),
        ({"seed": True}, "seed: got True, expected a whole number"),
        ({"seed": -1}, "seed: got -1, expected a whole number in"),
        ({"device": None}, "device: got None, expected auto, cpu, cuda, cuda:INDEX or mps"),
        ({"device": torch.device("meta")}, "device: got 'meta', expected auto"),
        ({"backbone": 5}, "backbone: got 5, expected the name of a CNN or a BackboneConfig"),
        ({"backbone": BackboneConfig(size=64.5)}, r"size: got 64\.5, expected a whole number"),
        ({"weights": 5}, r"backbone\.weights: got 5, expected text"),
        ({"graph": {"stride": 4}}, r"graph: got \{'stride': 4\}, expected a GraphConfig"),
        ({"graph": GraphConfig(stride="4")}, r"graph\.stride: got '4', expected a whole number"),
        ({"method": ["a"]}, r"method: got \['a'\], expected one of graph"),
        ({"method": "graph", "checkpoint": 5}, "checkpoint: got 5, expected a run folder or a checkpoint file"),
        ({"preset": 3}, "preset: got 3, expected one of"),
        ({"tile": "64"}, "tile: got '64', expected a whole number"),
        ({"tile": 64.5}, r"tile: got 64\.5, expected a whole number"),
        ({"tile": 64, "overlap": 0.5}, r"overlap: got 0\.5, expected a whole number"),
        ({"overlap": "8"}, "overlap: got '8', expected a whole number"),
        ({"tile_supports": 3}, "tile_supports: got 3, expected scaled or whole"),
    ],
)
def test_arguments_of_another_type_are_named(arguments, words):
    with pytest.raises(ConfigError, match=words):
        FewShotSegmenter(**{"method": "prototype", **arguments})


def test_numbers_of_numpy_and_devices_of_torch_are_taken():
    other = FewShotSegmenter(
        "prototype", size=np.int64(64), seed=np.uint8(3), device=torch.device("cpu"), tile=np.int32(64)
    )
    assert other.device == torch.device("cpu")
    assert other.tiling.tile == 64


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a"], r"class_names: got \['a'\], expected a mapping of class ids to names such as \{1: 'cat'\}"),
        (5, "class_names: got 5, expected a mapping"),
        ({"1": "a"}, "class_names: got '1', expected a whole number"),
        ({1: 3}, "class_names: 1: got 3, expected a name"),
        ({1: "cell", 2: "cell"}, "class_names: got 'cell' more than once"),
        ({0: "ground", 1: "background"}, "class_names: got 'background' more than once, the background counted"),
    ],
)
def test_names_of_classes_are_a_mapping(segmenter, names, words):
    with pytest.raises(ConfigError, match=words):
        segmenter.fit(*scene(0), class_names=names)


def test_broken_images_of_pillow_are_explained(segmenter, tmp_path):
    rgb, mask = scene(0)
    Image.fromarray(rgb).save(tmp_path / "x.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "x.png").read_bytes()[:2000])
    with Image.open(tmp_path / "x.png") as closed:
        pass
    for image in (closed, Image.open(tmp_path / "half.png")):
        with pytest.raises(DataError, match=r"picture: broken, truncated or closed image .*; open or replace it"):
            segmenter.fit(image, mask)
    with pytest.raises(DataError, match=r"mask: broken, truncated or closed image"):
        segmenter.fit(rgb, closed)


def test_pictures_in_bfloat16_are_taken(segmenter):
    rgb, mask = scene(0)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1).to(torch.bfloat16) / 256
    assert segmenter.fit(tensor, mask).predict(tensor)[0].shape == mask.shape


def test_mirroring_changes_the_answer_a_little_and_is_a_matter_of_yes_or_no(segmenter):
    mirrored = FewShotSegmenter("prototype", size=64, device="cpu", mirror=True).fit(*scene(0))
    query, truth = scene(1)
    one, two = segmenter.fit(*scene(0)).predict_proba(query)[0], mirrored.predict_proba(query)[0]
    assert 0 < np.abs(one - two).max() < 0.5
    assert iou(two.argmax(0) == 1, truth == 1) > 0.5
    with pytest.raises(ConfigError, match="mirror: got 'yes', expected True or False"):
        FewShotSegmenter("prototype", mirror="yes")
