from pathlib import Path

import numpy as np
import pytest
from fakes import SIZE, fake_voc, lines, mask_file, picture, rectangles, sbd_mat

from pixgraph.config import SourceConfig
from pixgraph.data.pascal import CLASSES, _listed_pairs, fold_classes, open_split, read_sbd_mask
from pixgraph.errors import ConfigError, DataError


def source(root: Path, fold: int = 0) -> SourceConfig:
    return SourceConfig(name="pascal5i", root=str(root), fold=fold)


def keys(dataset) -> list[str]:
    return [s.key for s in dataset.samples]


def test_folds_partition_the_classes_in_blocks_of_five():
    assert len(CLASSES) == 20
    ids = [c for fold in range(4) for c in fold_classes(fold)]
    assert ids == list(range(1, 21))
    assert list(fold_classes(0).values()) == ["aeroplane", "bicycle", "bird", "boat", "bottle"]
    assert list(fold_classes(3).values()) == ["pottedplant", "sheep", "sofa", "train", "tvmonitor"]


@pytest.mark.parametrize("sbd", ["png", "mat"])
def test_training_pictures_are_voc_and_sbd_without_validation(tmp_path, sbd):
    dataset = open_split(source(fake_voc(tmp_path, sbd)), "train")
    assert keys(dataset) == ["2007_000001", "2007_000002", "2007_000003", "2008_000001", "2008_000002"]
    assert set(dataset.class_names) == set(range(6, 21))
    assert dataset.areas[6] == {1: 120, 2: 112}
    assert dataset.areas[7] == {4: 112}


def test_novel_pixels_are_background_in_training_and_the_contour_stays(tmp_path):
    dataset = open_split(source(fake_voc(tmp_path)), "train")
    assert np.unique(dataset.read_mask(0)).tolist() == [0]  # only an aeroplane, which fold 0 tests
    assert np.unique(dataset.read_mask(1)).tolist() == [0, 6, 255]
    assert np.unique(dataset.read_mask(2)).tolist() == [0, 6]
    assert np.unique(dataset.read_labels(2)).tolist() == [0, 1, 6]


@pytest.mark.parametrize(("split", "shown"), [("test", [1]), ("val", [6, 20])])
def test_validation_pictures_show_novel_classes_in_test_and_base_classes_in_val(tmp_path, split, shown):
    dataset = open_split(source(fake_voc(tmp_path)), split)
    assert keys(dataset) == ["2007_000011", "2007_000012", "2007_000013"]
    assert [c for c, found in dataset.areas.items() if found] == shown
    assert dataset.read_image(0).shape == (*SIZE, 3)


def test_the_root_may_be_the_voc_folder_itself(tmp_path):
    fake_voc(tmp_path)
    inner = open_split(source(tmp_path / "VOCdevkit" / "VOC2012"), "train")
    assert keys(inner) == keys(open_split(source(tmp_path), "train"))


def test_a_trainaug_list_is_followed(tmp_path):
    lists = fake_voc(tmp_path) / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    lines(lists / "trainaug.txt", "/JPEGImages/2008_000002.jpg /SegmentationClassAug/2008_000002.png", "2007_000001")
    assert keys(open_split(source(tmp_path), "train")) == ["2008_000002", "2007_000001"]


def test_without_sbd_it_warns_and_trains_on_voc_alone(tmp_path):
    with pytest.warns(UserWarning, match=r"found no SBD annotations .* VOC's own 3 pictures"):
        dataset = open_split(source(fake_voc(tmp_path, sbd="")), "train")
    assert len(dataset) == 3


def test_fold_lists_choose_pictures_and_classes(tmp_path):
    fake_voc(tmp_path)
    train = {
        0: ["2007_000001__01"],
        1: ["2008_000002__07", "2007_000003__06"],
        2: ["2007_000003__12"],
        3: ["2007_000001__20"],
    }
    val = {0: ["2007_000013__01"], 1: ["2007_000012__06"], 2: ["2007_000012__12"], 3: ["2007_000013__20"]}
    for half, folds in (("train", train), ("val", val)):
        for fold, entries in folds.items():
            lines(tmp_path / "splits" / "pascal5i" / half / f"fold{fold}.txt", *entries)
    assert keys(open_split(source(tmp_path), "train")) == ["2008_000002", "2007_000003", "2007_000001"]
    test = open_split(source(tmp_path), "test")
    assert keys(test) == ["2007_000013"]
    assert test.areas[1] == {0: 120}
    fold1 = open_split(source(tmp_path, fold=1), "test")
    assert fold1.areas[6] == {0: 120}
    base = open_split(source(tmp_path), "val")
    assert {c for c, found in base.areas.items() if found} == {6, 20}
    lines(tmp_path / "splits" / "pascal5i" / "val" / "fold0.txt", "2007_000013__06")
    with pytest.raises(
        DataError, match=r"fold0.txt: got the line '2007_000013__06', expected <picture>__<class of fold 0>"
    ):
        open_split(source(tmp_path), "test")


def test_a_wrong_layout_says_what_was_looked_for_and_where(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    with pytest.raises(
        DataError, match=r"pascal5i: looked for ImageSets/Segmentation at .*VOCdevkit/VOC2012.*found none"
    ):
        open_split(source(tmp_path), "train")
    with pytest.raises(DataError, match=r"no folder .*python -m pixgraph.data.download pascal5i"):
        open_split(source(tmp_path / "nowhere"), "train")


def test_missing_pictures_and_masks_are_counted_and_named(tmp_path):
    voc = fake_voc(tmp_path) / "VOCdevkit/VOC2012"
    lines(voc / "ImageSets/Segmentation/trainaug.txt", "2008_000001", "2008_000009")
    with pytest.raises(DataError, match=r"1 pictures are missing, the first is '2008_000009'; looked in .*JPEGImages"):
        open_split(source(tmp_path), "train")
    picture(voc / "JPEGImages" / "2008_000009.jpg")
    with pytest.raises(DataError, match=r"1 masks are missing, the first is '2008_000009'"):
        open_split(source(tmp_path), "train")


def test_broken_masks_name_the_file(tmp_path):
    voc = fake_voc(tmp_path, sbd="mat") / "VOCdevkit/VOC2012"
    dataset = open_split(source(tmp_path), "train")
    path = voc / "SegmentationClass" / "2007_000001.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"2007_000001.png: broken or truncated"):
        dataset.read_mask(0)
    mask_file(path, rectangles((44, 0, 0, 9, 9)))
    with pytest.raises(DataError, match=r"2007_000001.png: got the numbers 44, unknown to pascal5i"):
        dataset.read_mask(0)
    mask_file(path, rectangles((1, 0, 0, 9, 9), size=(10, 10)))
    with pytest.raises(DataError, match=r"mask of 10 x 10 pixels, expected 32 x 24"):
        dataset.read_mask(0)


@pytest.mark.parametrize("content", [b"", b"no matlab file, but long enough " * 9, "truncated", "other"])
def test_broken_mat_files_name_the_file(tmp_path, content):
    path = sbd_mat(tmp_path / "x.mat", rectangles((1, 0, 0, 9, 9)))
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:300])
    elif content == "other":
        from scipy.io import savemat

        savemat(path, {"something": np.ones(3)})
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"x.mat: cannot read GTcls.Segmentation"):
        read_sbd_mask(path)


def test_fold_and_split_are_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"got fold 4, expected 0 to 3"):
        open_split(source(tmp_path, fold=4), "train")
    with pytest.raises(ConfigError, match=r"got split 'trn', expected one of train, val, test"):
        open_split(source(tmp_path), "trn")


@pytest.mark.data
@pytest.mark.parametrize("fold", range(4))
def test_the_published_lists_are_understood(data_root, fold):
    train, test = (_listed_pairs(data_root, split, fold) for split in ("train", "test"))
    assert sum(map(len, test.values())) == [346, 451, 725, 346][fold]
    assert sum(map(len, train.values())) == 13680 - [2286, 3425, 5883, 2086][fold]
    assert set().union(*test.values()) == set(fold_classes(fold))
    assert set().union(*train.values()) == set(range(1, 21)) - set(fold_classes(fold))
    assert not set(train) & set(test)
