import builtins
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from fakes import SIZE, fake_coco, fake_coco_maps, mask_file, picture, rectangles

from pixgraph.config import SourceConfig
from pixgraph.data.coco import CLASSES, CocoMaps, CocoObjects, _listed_pairs, fold_classes, open_split
from pixgraph.errors import ConfigError, DataError, DependencyError

# pycocotools has not followed NumPy's newest signature yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def source(root: Path, fold: int = 3, convention: str = "interleaved") -> SourceConfig:
    return SourceConfig(name="coco20i", root=str(root), fold=fold, convention=convention)


def stems(dataset) -> list[str]:
    return [s.key[-15:] for s in dataset.samples]


@pytest.mark.parametrize("convention", ["interleaved", "contiguous"])
def test_folds_partition_the_eighty_classes(convention):
    assert len(set(CLASSES)) == 80
    ids = sorted(c for fold in range(4) for c in fold_classes(fold, convention))
    assert ids == list(range(1, 81))


def test_the_conventions_differ():
    assert list(fold_classes(1)) == list(range(2, 81, 4))
    assert list(fold_classes(1, "contiguous")) == list(range(21, 41))
    with pytest.raises(ConfigError, match="got fold convention 'odd', expected one of interleaved, contiguous"):
        fold_classes(0, "odd")


@pytest.mark.parametrize("year", ["2014", "2017"])
@pytest.mark.parametrize("below", ["", "images"])
def test_outlines_are_drawn_small_over_large_over_crowd(tmp_path, year, below):
    pytest.importorskip("pycocotools")
    dataset = open_split(source(fake_coco(tmp_path, year, below)), "train")
    assert isinstance(dataset, CocoObjects)
    # fold 3 tests the classes 4, 8, ..., 20 (cow): training shows person and bicycle
    expected = rectangles((255, 0, 0, 24, 4), (1, 2, 2, 22, 16), (2, 8, 8, 12, 12))
    np.testing.assert_array_equal(dataset.read_mask(0), expected)
    assert dataset.areas == {c: {1: {0: 264}, 2: {0: 16}}.get(c, {}) for c in dataset.class_names}
    np.testing.assert_array_equal(dataset.read_mask(0), expected)  # now from memory
    assert dataset.has_mask(0)
    assert dataset.read_image(0).shape == (*SIZE, 3)


def test_novel_classes_are_hidden_in_train_and_shown_alone_in_test(tmp_path):
    pytest.importorskip("pycocotools")
    fake_coco(tmp_path)
    test = open_split(source(tmp_path), "test")
    assert [s.key for s in test.samples] == ["val2014/COCO_val2014_000000000012"]
    assert np.unique(test.read_mask(0)).tolist() == [0, 20]
    base = open_split(source(tmp_path), "val")
    assert [s.key for s in base.samples] == ["val2014/COCO_val2014_000000000011"]
    assert np.unique(open_split(source(tmp_path, fold=0), "train").read_mask(0)).tolist() == [0, 2, 255]
    contiguous = open_split(source(tmp_path, fold=0, convention="contiguous"), "test")
    assert [c for c, found in contiguous.areas.items() if found] == [1, 2, 20]


def test_run_lengths_and_two_cornered_polygons(tmp_path):
    pytest.importorskip("pycocotools")
    file = fake_coco(tmp_path) / "annotations" / "instances_train2014.json"
    content = json.loads(file.read_text())
    content["annotations"] = [
        {
            "image_id": 1,
            "category_id": 1,
            "area": 48,
            "segmentation": {"size": [24, 32], "counts": [24, 48, 24 * 29]},
        },
        {"image_id": 1, "category_id": 2, "area": 9, "segmentation": [[1, 1, 5, 5]]},
    ]
    file.write_text(json.dumps(content))
    np.testing.assert_array_equal(open_split(source(tmp_path), "train").read_mask(0), rectangles((1, 0, 1, 24, 3)))


@pytest.mark.parametrize(
    ("outline", "words"),
    [
        ({"size": [24, 32], "counts": [5, 5]}, r"malformed outline of an object in COCO_train2014_000000000001.jpg"),
        ({"size": [2, 2], "counts": [0, 4]}, r"has 2 x 2 pixels, expected 32 x 24"),
        ("wrong", r"malformed outline"),
    ],
)
def test_malformed_outlines_name_picture_and_file(tmp_path, outline, words):
    pytest.importorskip("pycocotools")
    file = fake_coco(tmp_path) / "annotations" / "instances_train2014.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = outline
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"instances_train2014.json: .*" + words):
        open_split(source(tmp_path), "train").read_mask(0)


@pytest.mark.parametrize("text", ["", '{"images": ', "[]", '{"images": []}'])
def test_a_broken_annotation_file_is_named(tmp_path, text):
    file = fake_coco(tmp_path) / "annotations" / "instances_train2014.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"instances_train2014.json: not a COCO annotation file"):
        open_split(source(tmp_path), "train")


def test_an_unknown_category_and_an_unknown_picture_are_refused(tmp_path):
    file = fake_coco(tmp_path) / "annotations" / "instances_train2014.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "categories": [*content["categories"], {"id": 5, "name": "dragon"}]}))
    with pytest.raises(DataError, match=r"unknown category 'dragon'"):
        open_split(source(tmp_path), "train")
    content["annotations"][0]["image_id"] = 77
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"not a COCO annotation file \(KeyError: 77\)"):
        open_split(source(tmp_path), "train")


def test_without_pycocotools_it_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pycocotools":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    dataset = open_split(source(fake_coco(tmp_path)), "train")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match=r"pip install pycocotools.*annotations/<set>/\*.png"):
        dataset.read_mask(0)


def test_ready_masks_of_class_ids(tmp_path):
    fake_coco(tmp_path)
    dataset = open_split(source(fake_coco_maps(tmp_path)), "train")
    assert isinstance(dataset, CocoMaps)  # they win over the outlines
    assert dataset.areas[1] == {0: 84}
    assert dataset.areas[2] == {0: 16}
    assert open_split(source(tmp_path), "test").areas[20] == {1: 64}
    mask_file(tmp_path / "annotations/train2014/COCO_train2014_000000000001.png", rectangles((81, 0, 0, 2, 2)))
    with pytest.raises(DataError, match=r"000000000001.png: got the numbers 81, unknown to coco20i"):
        dataset.read_mask(0)


@pytest.mark.parametrize("packed", [True, False])
def test_fold_lists_choose_pictures_and_classes(tmp_path, packed):
    fake_coco_maps(tmp_path)
    listed = {str(n): [] for n in range(80)} | {"0": ["train2014/COCO_train2014_000000000001.jpg"]}
    file = tmp_path / "splits" / "train" / ("fold3.json.gz" if packed else "fold3.json")
    file.parent.mkdir(parents=True)
    content = json.dumps(listed).encode()
    file.write_bytes(gzip.compress(content) if packed else content)
    dataset = open_split(source(tmp_path), "train")
    assert stems(dataset) == ["14_000000000001"]
    assert dataset.areas[1] == {0: 84}
    assert dataset.areas[2] == {}  # it is there, but not listed
    assert len(open_split(source(tmp_path, convention="contiguous"), "train")) == 2
    file.rename(file.with_name(file.name.replace("fold3", "fold0")))
    with pytest.raises(DataError, match=r"lists the class numbers \[0\], expected only those of this fold"):
        open_split(source(tmp_path, fold=0), "train")


def test_broken_fold_lists_are_named(tmp_path):
    fake_coco_maps(tmp_path)
    file = tmp_path / "splits" / "train" / "fold3.json.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"fold3.json.gz: cannot read this list of pictures"):
        open_split(source(tmp_path), "train")


def test_a_pool_of_pictures_serves_all_splits(tmp_path):
    for i, mask in enumerate((rectangles((1, 2, 2, 9, 9)), rectangles((20, 2, 2, 9, 9)))):
        picture(tmp_path / "images" / f"{i}.jpg", i)
        mask_file(tmp_path / "masks" / f"{i}.png", mask)
    assert [c for c, f in open_split(source(tmp_path), "test").areas.items() if f] == [20]
    assert [c for c, f in open_split(source(tmp_path), "train").areas.items() if f] == [1]


def test_a_wrong_layout_says_what_was_looked_for_and_where(tmp_path):
    with pytest.raises(DataError, match=r"looked for annotations/val2014/\*.png, annotations/instances_val2014.json"):
        open_split(source(tmp_path), "test")
    file = fake_coco(tmp_path) / "val2014" / "COCO_val2014_000000000012.jpg"
    file.unlink()
    with pytest.raises(DataError, match=r"1 pictures are missing, the first is 'val2014/COCO_val2014_000000000012'"):
        open_split(source(tmp_path), "test")


@pytest.mark.data
def test_real_pictures_fall_into_the_folds(data_root):
    found: set[int] = set()
    for fold in range(4):
        dataset = open_split(source(data_root / "coco128", fold), "test")
        assert len(dataset) == 126
        shown = {c for c, areas in dataset.areas.items() if areas}
        assert not shown & found
        found |= shown
    assert len(found) == 71


@pytest.mark.data
@pytest.mark.parametrize(("fold", "pictures"), [(0, 26052), (3, 12640)])
def test_the_published_lists_are_understood(data_root, fold, pictures):
    pairs = _listed_pairs(data_root, "test", source(data_root, fold))
    assert len(pairs) == pictures
    assert set().union(*pairs.values()) == set(fold_classes(fold))
