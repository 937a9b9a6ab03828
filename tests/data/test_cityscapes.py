import numpy as np
import pytest
from fakes import fake_cityscapes, mask_file, rectangles

from pixgraph.config import SourceConfig
from pixgraph.data.cityscapes import CLASSES, label_table, open_split
from pixgraph.errors import DataError


def source(root) -> SourceConfig:
    return SourceConfig(name="cityscapes", root=str(root))


def test_classes_are_train_ids_plus_one():
    assert len(CLASSES) == 19
    table = label_table()
    assert (table[7], table[26], table[33]) == (1, 14, 19)
    assert sorted(v for v in table.values() if v != 255) == list(range(1, 20))
    assert [n for n, v in table.items() if v == 255] == [*range(7), 9, 10, 14, 15, 16, 18, 29, 30, 255]


@pytest.mark.parametrize(("split", "city"), [("train", "aachen"), ("val", "munster")])
def test_official_pictures_with_label_ids(tmp_path, split, city):
    dataset = open_split(source(fake_cityscapes(tmp_path)), split)
    assert [s.key for s in dataset.samples] == [f"{city}/{city}_{i:06d}_000019" for i in range(2)]
    expected = rectangles((1, 0, 0, 24, 32), (14, 4, 4, 12, 12), (255, 20, 0, 24, 32), (255, 5, 5, 6, 6))
    np.testing.assert_array_equal(dataset.read_mask(0), expected)
    assert dataset.areas[14] == {0: 63, 1: 63}


def test_the_test_masks_are_not_published(tmp_path):
    with pytest.raises(DataError, match="masks of the test pictures are not published; use the split val"):
        open_split(source(tmp_path), "test")


def test_a_wrong_layout_says_what_was_looked_for_and_where(tmp_path):
    with pytest.raises(
        DataError, match=r"looked for the pictures at .*leftImg8bit/train, found none. Cityscapes needs"
    ):
        open_split(source(tmp_path), "train")
    (tmp_path / "leftImg8bit" / "train").mkdir(parents=True)
    (tmp_path / "gtFine" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"looked for <city>/\*_leftImg8bit.png in .*train, found none"):
        open_split(source(tmp_path), "train")


def test_missing_and_foreign_masks_are_named(tmp_path):
    path = fake_cityscapes(tmp_path) / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    mask_file(path, rectangles((40, 0, 0, 2, 2)))
    with pytest.raises(DataError, match=r"labelIds.png: got the numbers 40, unknown to cityscapes"):
        open_split(source(tmp_path), "train").read_mask(0)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"labelIds.png: the file is empty"):
        open_split(source(tmp_path), "train").read_mask(0)
    path.unlink()
    with pytest.raises(
        DataError, match=r"1 masks are missing, the first is 'aachen_000000_000019_gtFine_labelIds.png'"
    ):
        open_split(source(tmp_path), "train")
