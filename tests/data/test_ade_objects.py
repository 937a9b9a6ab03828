import json

import numpy as np
import pytest
from fake_own import fake_ade
from fakes import lines, mask_file, picture, rectangles

from pixgraph.config import SourceConfig
from pixgraph.data.ade_objects import AdeObjects, open_split
from pixgraph.errors import DataError


def test_splits_are_lists_of_classes_with_ids_that_never_change(tmp_path):
    root = fake_ade(tmp_path)
    train, test = AdeObjects(root, "train"), open_split(SourceConfig("ade20k-objects", str(root)), "test")
    assert train.class_names == {2: "bench", 4: "lamp"}
    assert test.class_names == {1: "bed", 5: "van"}
    assert [s.key for s in test.samples] == ["bed/1", "bed/2", "bed/3", "van/1", "van/2", "van/3"]
    np.testing.assert_array_equal(test.read_mask(4), rectangles((5, 4, 4, 20, 24)))
    assert test.areas == {1: dict.fromkeys(range(3), 320), 5: dict.fromkeys(range(3, 6), 320)}
    assert repr(test) == "AdeObjects('ade20k-objects', split='test', pictures=6, classes=2)"


def test_pictures_stand_in_natural_order(tmp_path):
    root = fake_ade(tmp_path, pictures=11)
    assert [s.key.split("/")[1] for s in AdeObjects(root, "val").samples] == [str(n) for n in range(1, 12)]


def test_parts_as_classes(tmp_path):
    dataset = open_split(SourceConfig("ade20k-objects", str(fake_ade(tmp_path)), parts=True), "train")
    names = {21: "bench/part 1", 22: "bench/part 2", 41: "lamp/part 1", 42: "lamp/part 2"}
    assert dataset.class_names == names
    assert np.unique(dataset.read_mask(0)).tolist() == [0, 21, 22, 255]
    assert sorted(dataset.areas[41]) == [3, 4, 5]


def test_a_wrong_layout_says_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"ade20k-objects: no folder .*nowhere; Nobody distributes these crops"):
        AdeObjects(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"has no images, masks, splits/train\.txt; Nobody distributes these crops"):
        AdeObjects(tmp_path)
    root = fake_ade(tmp_path)
    with pytest.raises(DataError, match=r"has no splits/novel\.txt"):
        AdeObjects(root, "novel")
    lines(root / "splits" / "val.txt", "desk", "dragon")
    with pytest.raises(DataError, match=r"splits/val\.txt: no folder images/dragon; .* \(missing: dragon\)"):
        AdeObjects(root, "val")
    (root / "images" / "dragon").mkdir()
    with pytest.raises(DataError, match=r"images/dragon: no pictures; expected at least one"):
        AdeObjects(root, "val")
    (root / "splits" / "val.txt").write_text("\n# nothing\n")
    with pytest.raises(DataError, match=r"val\.txt: the list is empty, expected one name a line"):
        AdeObjects(root, "val")


def test_missing_and_broken_masks_are_named(tmp_path):
    root = fake_ade(tmp_path)
    mask_file(root / "masks" / "bed" / "2.png", rectangles((255, 0, 0, 4, 4), size=(20, 20)))
    with pytest.raises(
        DataError, match=r"bed/2\.png: got a mask of 20 x 20 pixels, expected 32 x 24 like .*bed/2\.jpg"
    ):
        AdeObjects(root, "test").read_mask(1)
    (root / "masks" / "bed" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"bed/1\.png: the file is empty"):
        AdeObjects(root, "test").read_mask(0)
    (root / "masks" / "bed" / "1.png").unlink()
    with pytest.raises(DataError, match=r"bed/1\.jpg: no mask .*masks/bed/1\.png; expected one for each picture"):
        AdeObjects(root, "test")


@pytest.mark.parametrize("content", ["", "[]", '{"a": {}}', '{"1": {"object": "bed"}}', '{"1": "bed"}'])
def test_a_broken_parts_list_is_named(tmp_path, content):
    root = fake_ade(tmp_path)
    (root / "parts.json").write_text(content)
    with pytest.raises(DataError, match=r"parts\.json: cannot read the part names .* expected \{"):
        AdeObjects(root, "train", parts=True)


def test_a_truncated_picture_is_named(tmp_path):
    root = fake_ade(tmp_path)
    path = picture(root / "images" / "bed" / "1.jpg")
    path.write_bytes(path.read_bytes()[:300])
    dataset = AdeObjects(root, "test")
    with pytest.raises(DataError, match=r"bed/1\.jpg: broken or truncated picture"):
        dataset.read_image(0)


@pytest.mark.data
def test_the_real_crops(data_root):
    root = data_root / "ade20k-objects"
    splits = {split: AdeObjects(root, split) for split in ("train", "val", "test")}
    assert {split: (len(d), len(d.class_names)) for split, d in splits.items()} == {
        "train": (940, 18),
        "val": (304, 5),
        "test": (594, 10),
    }
    names = [set(d.class_names.values()) for d in splits.values()]
    assert len(set.union(*names)) == 33
    for index in (0, 100, 593):
        mask = splits["test"].read_mask(index)
        assert mask.shape == splits["test"].read_image(index).shape[:2]
        assert len(np.unique(mask)) == 2
    parts = AdeObjects(root, "train", parts=True)
    assert len(parts.class_names) == 101
    known = {int(n) for n in json.loads((root / "parts.json").read_text())}
    assert set(np.unique(parts.read_mask(0)).tolist()) <= known | {0, 255}
