import json

import numpy as np
import pytest
from fake_own import ADE_CLASSES, MemoryDataset, fake_ade, fake_class_folder, fake_index_folder
from fakes import fake_camvid, fake_cityscapes, fake_coco, fake_coco_maps, fake_voc, lines, mask_file, rectangles

from pixgraph.data import cityscapes, coco, pascal
from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.camvid import CLASSES
from pixgraph.data.semantic import SemanticSplit, open_semantic, open_splits, refuse_shared
from pixgraph.errors import ConfigError, DataError

BOX, OTHER = (2, 2, 12, 14), (14, 16, 22, 30)


@pytest.mark.parametrize("layout", ["segnet", "images and masks"])
def test_camvid_has_no_background(tmp_path, layout):
    split = open_semantic(f"camvid:{fake_camvid(tmp_path, layout)}", "val")
    assert split.names == CLASSES
    assert split.ids == tuple(range(1, 12))
    assert split.background is None
    rgb, label = split.read(0)
    assert rgb.shape == (24, 32, 3)
    np.testing.assert_array_equal(label, rectangles((8, 2, 2, 12, 12), (255, 0, 20, 24, 32)))
    np.testing.assert_array_equal(split.to_ids(label), split.dataset.read_mask(0))


def test_cityscapes_has_its_train_ids(tmp_path):
    split = open_semantic(f"cityscapes:{fake_cityscapes(tmp_path)}", "train")
    assert (split.classes, split.background) == (19, None)
    assert split.names == cityscapes.CLASSES
    expected = rectangles((13, 4, 4, 12, 12), (255, 20, 0, 24, 32), (255, 5, 5, 6, 6))
    np.testing.assert_array_equal(split.read_label(0), expected)


@pytest.mark.parametrize("sbd", ["png", "mat"])
@pytest.mark.parametrize("name", ["voc", "pascal5i"])
def test_voc_shows_all_classes_of_all_pictures(tmp_path, sbd, name):
    split = open_semantic(f"{name}:{fake_voc(tmp_path, sbd)}", "train")
    assert split.names == ("background", *pascal.CLASSES)
    assert split.background == 0
    assert sorted(split.keys) == [*(f"2007_00000{i}" for i in (1, 2, 3)), "2008_000001", "2008_000002"]
    labels = {key: split.read_label(i) for i, key in enumerate(split.keys)}
    np.testing.assert_array_equal(labels["2007_000003"], rectangles((1, *BOX), (6, *OTHER)))
    np.testing.assert_array_equal(labels["2007_000002"], rectangles((255, 1, 1, 13, 15), (6, *BOX)))
    np.testing.assert_array_equal(labels["2008_000002"], rectangles((7, *OTHER)))


def test_lists_of_folds_do_not_hide_classes(tmp_path):
    fake_voc(tmp_path)
    lists = tmp_path / "splits" / "train"
    lines(lists / "fold0.txt", "2007_000001__1", "2007_000003__1", "2008_000001__1")
    lines(lists / "fold1.txt", "2007_000002__6", "2007_000003__6", "2008_000002__7")
    lines(lists / "fold2.txt", "2007_000001__11"), lines(lists / "fold3.txt", "2007_000001__16")
    split = open_semantic(f"voc:{tmp_path}", "train")
    assert len(split.keys) == len(set(split.keys)) == 5
    index = split.keys.index("2007_000003")
    np.testing.assert_array_equal(split.read_label(index), rectangles((1, *BOX), (6, *OTHER)))


@pytest.mark.parametrize("split", ["val", "test"])
def test_voc_validates_on_its_validation_pictures(tmp_path, split):
    opened = open_semantic(f"voc:{fake_voc(tmp_path)}", split)
    assert sorted(opened.keys) == ["2007_000011", "2007_000012", "2007_000013"]
    assert [opened.names[c] for c in np.flatnonzero(opened.shows().any(0))] == [
        "background",
        "aeroplane",
        "bus",
        "tvmonitor",
    ]


def test_coco_shows_all_classes(tmp_path):
    split = open_semantic(f"coco:{fake_coco_maps(tmp_path)}", "train")
    assert split.names == ("background", *coco.CLASSES)
    np.testing.assert_array_equal(split.read_label(0), rectangles((1, 2, 2, 12, 12), (2, 8, 8, 12, 12)))
    assert split.shows()[:, 20].tolist() == [False, True]


def test_coco_s_outlines_are_drawn(tmp_path):
    split = open_semantic(f"coco:{fake_coco(tmp_path)}", "train")
    assert [key[-1] for key in split.keys] == ["1", "2"]  # the third picture shows nothing
    shown = [np.flatnonzero(row).tolist() for row in split.shows()]
    assert shown == [[0, 1, 2], [0, 20]]
    assert set(np.unique(split.read_label(0))) == {0, 1, 2, IGNORE}


def test_a_folder_with_background(tmp_path):
    split = open_semantic(str(fake_index_folder(tmp_path)), "all")
    assert split.names == ("background", "cat", "dog")
    np.testing.assert_array_equal(split.read_label(0), rectangles((1, *BOX), (2, *OTHER)))
    (tmp_path / "masks" / "p2.png").unlink()
    split = open_semantic(f"folder:{tmp_path}", "train")
    assert not split.has_label(1)
    assert (split.read(1)[1] == UNLABELLED).all()
    assert split.shows().tolist() == [[True] * 3, [False] * 3, [True] * 3, [True] * 3]


def test_partial_masks_of_a_folder_keep_both_codes(tmp_path):
    fake_index_folder(tmp_path)
    partial = rectangles((1, *BOX), (254, *OTHER), (255, 0, 0, 1, 5))
    mask_file(tmp_path / "masks" / "p1.png", partial)
    np.testing.assert_array_equal(open_semantic(str(tmp_path), "all").read_label(0), partial)


def test_a_folder_where_number_zero_is_a_class(tmp_path):
    split = open_semantic(str(fake_index_folder(tmp_path, ["sky", "cat", "void"])), "all")
    assert (split.names, split.ids, split.background) == (("sky", "cat"), (1, 2), None)
    np.testing.assert_array_equal(split.read_label(0), rectangles((1, *BOX), (255, *OTHER)))


def test_splits_of_a_folder_are_of_pictures(tmp_path):
    names = ["background", *(f"class {i}" for i in range(6))]
    fake_index_folder(tmp_path, names)
    assert open_semantic(str(tmp_path), "train").classes == 7
    with pytest.raises(DataError, match=r"no pictures of their own for the split 'val', expected splits/val.txt"):
        open_semantic(str(tmp_path), "val")
    lines(tmp_path / "splits" / "train.txt", "p1", "p2", "p3"), lines(tmp_path / "splits" / "val.txt", "p4")
    assert open_semantic(str(tmp_path), "val").keys == ["p4"]
    assert open_semantic(str(tmp_path), "val").classes == 7


def test_single_objects_have_a_background(tmp_path):
    split = open_semantic(f"ade20k-objects:{fake_ade(tmp_path)}", "train")
    assert split.names == ("background", *sorted(ADE_CLASSES["train"]))
    assert split.ids == (0, 2, 4)  # bed 1, bench 2, desk 3, lamp 4, van 5
    assert {tuple(np.unique(split.read_label(i))) for i in range(len(split))} == {(0, 1), (0, 2)}
    assert open_semantic(f"folder:{fake_class_folder(tmp_path / 'own')}", "all").names[0] == "background"


def test_generated_pictures_need_no_folder():
    split = open_semantic("synthetic", "val")
    assert split.classes == 13
    assert split.read(3)[1].max() < 13


def test_codes_and_hidden_classes():
    mask = np.array([[0, 5, 9, 7, UNLABELLED, IGNORE]], np.uint8)
    split = SemanticSplit(MemoryDataset({"a": mask}, {5: "five", 9: "nine"}))
    np.testing.assert_array_equal(split.read_label(0), [[0, 1, 2, 0, UNLABELLED, IGNORE]])
    np.testing.assert_array_equal(split.to_ids(np.array([0, 1, 2, 254, 255])), [0, 5, 9, 254, 255])
    assert repr(split) == "SemanticSplit('memory', split='test', pictures=1, classes=3)"


def test_what_a_picture_shows_is_what_its_label_holds(tmp_path):
    split = open_semantic(f"voc:{fake_voc(tmp_path)}", "train")
    for index, shown in enumerate(split.shows()):
        found = np.unique(split.read_label(index))
        assert np.flatnonzero(shown).tolist() == found[found < UNLABELLED].tolist()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("camvid", "got 'camvid', expected NAME:FOLDER with one of synthetic, folder"),
        ("camvit:/x", "got 'camvit:/x', expected NAME:FOLDER"),
        ("camvid:/no/such", "camvid: no folder /no/such"),
        ("/no/such", "got '/no/such', expected NAME:FOLDER"),
    ],
)
def test_what_cannot_be_opened_says_so(place, words):
    with pytest.raises(DataError, match=words):
        open_semantic(place)


def test_a_name_without_a_folder_and_an_unknown_split(tmp_path):
    with pytest.raises(ConfigError, match=r"data.root: got nothing"):
        open_semantic("camvid:")
    with pytest.raises(DataError, match=r"pascal5i: got no folder"):
        open_semantic("voc:")
    with pytest.raises(ConfigError, match=r"got split 'dev', expected one of train, val, test"):
        open_semantic(f"voc:{fake_voc(tmp_path)}", "dev")


def test_more_classes_than_codes_are_refused():
    mask = np.array([[1, 254]], np.uint8)
    with pytest.raises(ConfigError, match=r"ids up to 254, expected ids below 254, which means unlabelled"):
        SemanticSplit(MemoryDataset({"p": mask}, {1: "cat", 254: "last"}, "train"))


def test_pictures_that_are_trained_on_are_not_scored(tmp_path):
    fake_index_folder(tmp_path)
    lines(tmp_path / "splits" / "train.txt", "p1", "p2", "p3")
    lines(tmp_path / "splits" / "val.txt", "p3", "p4")
    train, scored = open_splits(str(tmp_path), "train", "val")
    with pytest.raises(ConfigError, match="got 'val', of whose 2 pictures 1 are also trained on, expected pictures of"):
        refuse_shared(train, scored)
    lines(tmp_path / "splits" / "val.txt", "p4")
    refuse_shared(*open_splits(str(tmp_path), "train", "val"))
    drawn = {"p0": np.ones((2, 2), np.uint8)}
    one, other = (SemanticSplit(MemoryDataset(drawn, {1: "cat"}, split)) for split in ("train", "val"))
    refuse_shared(one, other)  # no files: a key is of its split
    with pytest.raises(ConfigError, match="got 'train', of whose 1 pictures 1 are also trained on"):
        refuse_shared(one, one)


def test_a_folder_that_is_not_divided_is_scored_with_a_warning(tmp_path, capsys):
    fake_class_folder(tmp_path, ("cat", "dog"))
    refuse_shared(*open_splits(str(tmp_path), "train", "val"))
    assert "is scored on the pictures that are trained on, for it is not divided" in capsys.readouterr().err


def test_an_unknown_split_to_score_names_its_setting(tmp_path):
    with pytest.raises(DataError, match=r"^val_split foo: folder: got split 'foo', expected one of train, val"):
        open_splits(str(fake_index_folder(tmp_path)), "train", "foo")


@pytest.mark.data
def test_real_data_sets_open(data_root):
    split = open_semantic(f"camvid:{data_root / 'camvid'}", "train")
    assert (len(split), split.classes) == (367, 11)
    as_folder = open_semantic(f"folder:{data_root / 'camvid'}", "train")
    assert as_folder.names == split.names
    np.testing.assert_array_equal(as_folder.read_label(5), split.read_label(split.keys.index(as_folder.keys[5])))
    pool = open_semantic(f"coco:{data_root / 'coco128'}", "train")
    assert pool.classes == 81
    table = json.loads((data_root / "coco128" / "classes.json").read_text())
    assert pool.names[1:3] == ("person", "bicycle")
    assert len(table) >= 80
    assert open_semantic(f"ade20k-objects:{data_root / 'ade20k-objects'}", "val").classes == 6
