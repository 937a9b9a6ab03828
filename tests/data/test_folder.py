import errno
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from fake_own import fake_class_folder, fake_index_folder
from fakes import lines, mask_file, picture, rectangles
from PIL import Image

from pixgraph.config import SourceConfig
from pixgraph.data.episodes import EpisodeSampler
from pixgraph.data.folder import FolderDataset, open_split
from pixgraph.errors import DataError

BOXES = rectangles((1, 2, 2, 12, 14), (2, 14, 16, 22, 30))


def test_a_folder_a_class(tmp_path):
    dataset = open_split(SourceConfig("folder", str(fake_class_folder(tmp_path))), "all")
    assert dataset.class_names == {1: "apple", 2: "pear"}
    assert [s.key for s in dataset.samples] == ["apple/1", "apple/2", "apple/3", "pear/1", "pear/2", "pear/3"]
    np.testing.assert_array_equal(dataset.read_mask(4), rectangles((2, 2, 2, 12, 14)))
    assert dataset.read_image(4).shape == (24, 32, 3)
    assert EpisodeSampler(dataset, 2, 2)[0].classes in {(1, 2), (2, 1)}


@pytest.mark.parametrize("foreground", [1, 128, 255])
def test_foreground_is_above_127_or_one_where_nothing_is_more(tmp_path, foreground):
    fake_class_folder(tmp_path, ("apple",))
    mask_file(tmp_path / "masks/apple/1.png", rectangles((foreground, 2, 2, 12, 14), (foreground // 2, 14, 16, 22, 30)))
    np.testing.assert_array_equal(FolderDataset(tmp_path).read_mask(0), rectangles((1, 2, 2, 12, 14)))


@pytest.mark.parametrize("names", [None, ["background", "cat", "dog"]])
@pytest.mark.parametrize("prefix", ["", "deep/er/"])
def test_class_indices(tmp_path, names, prefix):
    dataset = FolderDataset(fake_index_folder(tmp_path, names, prefix))
    assert dataset.class_names == {1: "cat", 2: "dog"}
    assert [s.key for s in dataset.samples] == [f"{prefix}p{n}" for n in range(1, 5)]
    np.testing.assert_array_equal(dataset.read_mask(0), BOXES)


def test_index_zero_may_be_a_class_and_void_is_unknown(tmp_path):
    dataset = FolderDataset(fake_index_folder(tmp_path, ["sky", "Void", "road"]))
    assert dataset.class_names == {1: "sky", 3: "road"}
    mask_file(tmp_path / "masks/p1.png", BOXES + rectangles((255, 0, 0, 1, 1)))
    expected = np.array([1, 255, 3], np.uint8)[BOXES]
    expected[0, 0] = 255
    np.testing.assert_array_equal(dataset.read_mask(0), expected)


def test_an_index_without_a_name_is_refused(tmp_path):
    dataset = FolderDataset(fake_index_folder(tmp_path))
    mask_file(tmp_path / "masks/p1.png", rectangles((7, 2, 2, 12, 14), (9, 14, 16, 22, 30)))
    with pytest.raises(
        DataError, match=r"p1\.png: got class index 7, 9, expected one of classes\.json \(first: 0, 1, 2\), 254 or 255"
    ):
        dataset.read_mask(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"classes\.json: cannot read the classes"),
        ("3", r"classes\.json: cannot read the classes"),
        ('{"cat": 1}', r"classes\.json: cannot read the classes"),
        ('{"0": "background"}', r"classes\.json: got 0 classes"),
        ('["background", "cat", "cat"]', r"classes\.json: got 2 classes, 1 different names"),
        ('{"1": 3}', r"classes\.json: got 1: 3, expected an index in 0\.\.255 and a name"),
        ('{"1": "cat", "300": "dog"}', r"classes\.json: got 300: 'dog', expected an index in 0\.\.255"),
        ('["background", "cat", "CAT"]', r"got 2 classes, 1 different names \(cat, CAT\), .* differ in more than case"),
        ("[" * 100_000, r"classes\.json: cannot read the classes \(nested too deeply\)"),
        ('["background", " "]', r"classes\.json: got 1: ' ', expected"),
        ('{"0": "sky", "254": "road"}', r"classes\.json: got 2 classes, .* expected 1 to 253 classes"),
    ],
)
def test_a_broken_classes_file_is_named(tmp_path, content, message):
    fake_index_folder(tmp_path)
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(DataError, match=message):
        FolderDataset(tmp_path)


def test_pictures_without_masks_are_unlabelled(tmp_path):
    fake_class_folder(tmp_path)
    picture(tmp_path / "images/apple/extra.jpg")
    picture(tmp_path / "images/unlabelled/u.jpg")
    dataset = FolderDataset(tmp_path)
    assert dataset.class_names == {1: "apple", 2: "pear"}
    unlabelled = [s.key for i, s in enumerate(dataset.samples) if not dataset.has_mask(i)]
    assert unlabelled == ["apple/extra", "unlabelled/u"]
    with pytest.raises(DataError, match=r"folder: sample 'apple/extra' has no mask"):
        dataset.read_mask([s.key for s in dataset.samples].index("apple/extra"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda r: mask_file(r / "masks/apple/9.png", BOXES),
            r"apple/9\.png: no picture of this name in .*images/apple",
        ),
        (lambda r: (r / "masks/pear").rename(r / "masks/paer"), r"masks/pear: no such folder, expected the masks of"),
        (lambda r: mask_file(r / "masks/plum/1.png", BOXES), r"masks/plum: no folder images/plum; rename"),
        (lambda r: (r / "images/plum").mkdir() or (r / "masks/plum").mkdir(), r"images/plum: no pictures there"),
        (lambda r: mask_file(r / "masks/pear/2.bmp", BOXES), r"pear/2\.png: a second mask for 2, beside 2\.bmp"),
        (lambda r: picture(r / "images/apple/1.png"), r"apple/1\.png: a second picture named apple/1"),
        (lambda r: (r / "masks").rename(r / "labels"), r"folder: .* has no masks; expected images/<class>/\*"),
    ],
)
def test_folders_that_do_not_fit_are_refused(tmp_path, spoil, message):
    spoil(fake_class_folder(tmp_path))
    with pytest.raises(DataError, match=message):
        FolderDataset(tmp_path)


def test_empty_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"folder: no folder .*nowhere; expected images"):
        FolderDataset(tmp_path / "nowhere")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match=r"no classes\.json and no class folders in images; expected images/<class>"):
        FolderDataset(tmp_path)
    (tmp_path / "classes.json").write_text('["background", "cat"]')
    with pytest.raises(DataError, match=r"images: no pictures there, expected JPEG, PNG"):
        FolderDataset(tmp_path)
    picture(tmp_path / "images/p.jpg")
    with pytest.raises(DataError, match=r"masks: no mask belongs to any picture"):
        FolderDataset(tmp_path)


def test_broken_pictures_and_masks_are_named(tmp_path):
    fake_index_folder(tmp_path)
    mask_file(tmp_path / "masks/p1.png", rectangles(size=(9, 9)))
    whole = (tmp_path / "masks/p2.png").read_bytes()
    (tmp_path / "masks/p2.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(
        tmp_path / "masks/p3.png"
    )
    (tmp_path / "images/p4.jpg").write_bytes(b"")
    dataset = FolderDataset(tmp_path)
    with pytest.raises(
        DataError, match=r"p1\.png: got a mask of 9 x 9 pixels, expected 32 x 24 like .*p1\.jpg; export"
    ):
        dataset.read_mask(0)
    with pytest.raises(DataError, match=r"p2\.png: broken or truncated picture"):
        dataset.read_mask(1)
    with pytest.raises(DataError, match=r"p3\.png: got a coloured mask \(mode RGB\)"):
        dataset.read_mask(2)
    with pytest.raises(DataError, match=r"p4\.jpg: the file is empty"):
        dataset.read_image(3)


def test_masks_of_background_only_and_of_255_only_are_allowed(tmp_path):
    fake_index_folder(tmp_path)
    mask_file(tmp_path / "masks/p1.png", np.zeros((24, 32), np.uint8))
    mask_file(tmp_path / "masks/p2.png", np.full((24, 32), 255, np.uint8))
    dataset = FolderDataset(tmp_path)
    assert dataset.areas == {1: {2: 120, 3: 120}, 2: {2: 112, 3: 112}}


FIVE = ("ant", "bee", "cow", "dog", "elk")


def shown(root, split):
    dataset = FolderDataset(root, split)
    return list(dataset.class_names.values()), sorted({s.key.split("/")[0] for s in dataset.samples})


def test_without_lists_five_classes_are_split_and_four_are_not(tmp_path):
    fake_class_folder(tmp_path / "five", FIVE)
    picture(tmp_path / "five/images/unlabelled/u.jpg")
    assert shown(tmp_path / "five", "train") == (["ant", "bee", "cow"], ["ant", "bee", "cow", "unlabelled"])
    assert shown(tmp_path / "five", "val") == (["dog"], ["dog"])
    assert shown(tmp_path / "five", "test") == (["elk"], ["elk"])
    assert shown(tmp_path / "five", "all") == (list(FIVE), [*FIVE, "unlabelled"])
    fake_class_folder(tmp_path / "four", FIVE[:4])
    assert shown(tmp_path / "four", "test") == (list(FIVE[:4]), list(FIVE[:4]))


def test_lists_of_classes(tmp_path):
    fake_class_folder(tmp_path, FIVE)
    lines(tmp_path / "splits/train.txt", "elk", "# a comment", "ant")
    lines(tmp_path / "splits/test.txt", "bee")
    assert shown(tmp_path, "train") == (["ant", "elk"], ["ant", "elk"])
    assert FolderDataset(tmp_path, "test").class_names == {2: "bee"}
    with pytest.raises(
        DataError, match=r"splits/val\.txt: no such list beside test\.txt, train\.txt, expected one a spl"
    ):
        FolderDataset(tmp_path, "val")


def test_lists_of_classes_with_class_indices_hide_the_others(tmp_path):
    fake_index_folder(tmp_path)
    lines(tmp_path / "splits/test.txt", "dog")
    dataset = FolderDataset(tmp_path, "test")
    assert dataset.class_names == {2: "dog"}
    assert dataset.areas == {2: dict.fromkeys(range(4), 112)}


@pytest.mark.parametrize("names", [("p3", "p1"), ("p3.jpg", "p1.jpg"), ("p3", "p1", "p3")])
def test_lists_of_pictures(tmp_path, names):
    fake_index_folder(tmp_path)
    lines(tmp_path / "splits/val.txt", *names)
    dataset = FolderDataset(tmp_path, "val")
    assert [s.key for s in dataset.samples] == ["p3", "p1"]
    assert len(dataset.class_names) == 2


def test_lists_that_name_nothing_or_several_are_refused(tmp_path):
    fake_class_folder(tmp_path)
    lines(tmp_path / "splits/val.txt", "apple/1", "pear", "plum")
    with pytest.raises(DataError, match=r"val\.txt: got pear, plum, expected the names of classes or of pictures"):
        FolderDataset(tmp_path, "val")
    lines(tmp_path / "splits/val.txt", "2")
    with pytest.raises(DataError, match=r"val\.txt: '2' names 2 pictures, expected one; write folder/2"):
        FolderDataset(tmp_path, "val")
    lines(tmp_path / "splits/val.txt", "pear/2", "apple/1.jpg")
    assert [s.key for s in FolderDataset(tmp_path, "val").samples] == ["pear/2", "apple/1"]


def test_subfolders_named_as_splits(tmp_path):
    for split in ("train", "val"):
        fake_index_folder(tmp_path, prefix=f"{split}/")
    assert {s.key.split("/")[0] for s in FolderDataset(tmp_path, "val").samples} == {"val"}
    assert len(FolderDataset(tmp_path, "all")) == 8


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"folder: got split 'novel', expected one of train, val, test, all"):
        FolderDataset(fake_class_folder(tmp_path), "novel")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "split", "pictures", "classes"),
    [
        ("camvid", "val", 101, 11),
        ("coco128", "all", 126, 80),
        ("fss-1000-sample", "test", 25, 3),
        ("ade20k-objects", "test", 594, 10),
    ],
)
def test_real_folders(data_root, name, split, pictures, classes):
    dataset = FolderDataset(data_root / name, split)
    assert (len(dataset), len(dataset.class_names)) == (pictures, classes)
    assert set(np.unique(dataset.read_mask(0)).tolist()) <= {*dataset.class_names, 0, 255}


def test_what_nobody_annotated_is_unknown_to_episodes(tmp_path):
    fake_index_folder(tmp_path)
    partial = rectangles((1, 2, 2, 12, 14), (254, 14, 16, 22, 30), (255, 0, 0, 1, 5))
    mask_file(tmp_path / "masks/p1.png", partial)
    dataset = FolderDataset(tmp_path)
    np.testing.assert_array_equal(dataset.read_mask(0), np.where(partial == 254, 255, partial))
    np.testing.assert_array_equal(dataset.read_partial_mask(0), partial)


@pytest.mark.parametrize(
    ("names", "number"), [({"0": "background", "253": "last"}, 253), ({"0": "sky", "252": "last"}, 252)]
)
def test_the_last_class_has_the_id_253(tmp_path, names, number):
    fake_index_folder(tmp_path, names)
    for n in range(1, 5):
        mask_file(tmp_path / f"masks/p{n}.png", rectangles((number, 2, 2, 12, 14)))
    assert (FolderDataset(tmp_path).read_mask(0) == 253).sum() == 120


@pytest.mark.parametrize("names", [{"0": "background", "254": "last"}, {"0": "sky", "253": "last"}])
def test_no_class_has_the_id_of_what_is_not_marked(tmp_path, names):
    fake_index_folder(tmp_path, names)
    with pytest.raises(DataError, match=r"classes\.json: got . classes, .* for 254 means not marked; correct the file"):
        FolderDataset(tmp_path)


@pytest.mark.parametrize("place", ["masks/train", "images/train", "splits"])
def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path, monkeypatch, place):
    fake_index_folder(tmp_path, prefix="train/")
    lines(tmp_path / "splits/train.txt", "train/p1")
    look = os.scandir

    def locked(folder):
        if Path(folder) == tmp_path / place:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return look(folder)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(DataError, match=rf"{place}: cannot look into this folder \(Permission denied\), expected one"):
        FolderDataset(tmp_path, "train")


def test_accents_of_file_names_may_be_stored_in_either_way(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    picture(tmp_path / "images" / f"{decomposed}.png")
    mask_file(tmp_path / "masks" / f"{composed}.png", rectangles((1, 2, 2, 12, 14)))
    (tmp_path / "classes.json").write_text('["background", "cup"]', encoding="utf-8-sig")
    dataset = FolderDataset(tmp_path)
    assert dataset.has_mask(0)
    assert dataset.samples[0].key == decomposed


def test_numbers_in_files_mean_the_same_in_masks_and_marks(tmp_path):
    fake_index_folder(tmp_path / "a", {"0": "sky", "3": "bg", "4": "void", "7": "cat"})
    numbers = FolderDataset(tmp_path / "a").file_numbers(0)
    assert numbers.names == {0: "sky", 3: "background", 4: "void", 7: "cat"}
    assert numbers.ids[[0, 3, 4, 7, 9, 254, 255]].tolist() == [1, 0, 255, 8, 255, 254, 255]
    assert numbers.of_ids()[[0, 1, 8, 2, 254, 255]].tolist() == [3, 0, 7, 255, 254, 255]
    assert numbers.background == 3
    dataset = FolderDataset(fake_class_folder(tmp_path / "b"))
    pear = dataset.file_numbers(3)
    assert pear.names == {0: "background", 1: "pear"}
    assert (pear.background, pear.ids[[0, 1, 254, 255]].tolist()) == (0, [0, 2, 254, 255])
