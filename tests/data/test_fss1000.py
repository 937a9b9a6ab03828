from pathlib import Path

import numpy as np
import pytest
from fakes import fake_fss

from pixgraph.config import SourceConfig
from pixgraph.data.fss1000 import class_id, open_split
from pixgraph.errors import ConfigError, DataError

CLASSES = {"train": ["fountain", "taxi"], "val": ["mortar"], "test": ["bus", "abe's_flyingfish"]}


def source(root: Path) -> SourceConfig:
    return SourceConfig(name="fss1000", root=str(root))


@pytest.mark.parametrize("layout", ["official", "images and masks"])
def test_splits_are_disjoint_lists_of_classes(tmp_path, layout):
    fake_fss(tmp_path, CLASSES, layout)
    for split, names in CLASSES.items():
        dataset = open_split(source(tmp_path), split)
        assert list(dataset.class_names.values()) == names
        assert [s.key for s in dataset.samples] == [f"{n}/{k}" for n in names for k in (1, 2, 3)]
        assert dataset.read_image(0).shape == (16, 16, 3)


def test_soft_masks_are_cut_by_their_red_channel(tmp_path):
    dataset = open_split(source(fake_fss(tmp_path, CLASSES)), "train")
    expected = np.zeros((16, 16))
    expected[4:12, 4:12] = 2  # taxi; its edge of 100 is background
    np.testing.assert_array_equal(dataset.read_mask(3), expected)
    assert dataset.areas == {1: {0: 64, 1: 64, 2: 64}, 2: {3: 64, 4: 64, 5: 64}}


def test_more_than_254_classes_skip_the_ignore_label(tmp_path):
    assert [class_id(i) for i in (0, 253, 254, 519)] == [1, 254, 256, 521]
    names = [f"class_{i}" for i in range(256)]
    dataset = open_split(source(fake_fss(tmp_path, {"train": names}, pictures=1)), "train")
    assert 255 not in dataset.class_names
    assert np.unique(dataset.read_mask(255)).tolist() == [0, 257]
    assert dataset.areas[257] == {255: 64}


def test_lists_may_lie_at_the_root(tmp_path):
    (fake_fss(tmp_path, CLASSES) / "splits" / "val.txt").rename(tmp_path / "val.txt")
    assert len(open_split(source(tmp_path), "val")) == 3


def test_missing_lists_say_where_they_are_looked_for(tmp_path):
    fake_fss(tmp_path, {"train": ["taxi"]})
    with pytest.raises(
        DataError, match=r"looked for the class list val.txt at .*splits/val.txt, .*found none. Put the"
    ):
        open_split(source(tmp_path), "val")
    (tmp_path / "splits" / "train.txt").write_text("\n")
    with pytest.raises(DataError, match=r"train.txt: the list is empty"):
        open_split(source(tmp_path), "train")
    with pytest.raises(ConfigError, match="got split 'all'"):
        open_split(source(tmp_path), "all")


def test_absent_classes_are_left_out_with_a_warning(tmp_path):
    fake_fss(tmp_path, CLASSES)
    (tmp_path / "splits" / "train.txt").write_text("taxi\nunicorn\n")
    with pytest.warns(UserWarning, match="1 of the 2 classes of train have no pictures in .*'unicorn'"):
        assert open_split(source(tmp_path), "train").class_names == {1: "taxi"}
    (tmp_path / "splits" / "train.txt").write_text("unicorn\n")
    with pytest.raises(DataError, match=r"looked for pictures of the 1 classes of train, such as at .*unicorn"):
        open_split(source(tmp_path), "train")


def test_a_missing_or_broken_mask_is_named(tmp_path):
    fake_fss(tmp_path, CLASSES)
    path = tmp_path / "mortar" / "2.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"mortar/2.png: broken or truncated"):
        open_split(source(tmp_path), "val").read_mask(1)
    path.unlink()
    with pytest.raises(DataError, match=r"1 masks of mortar are missing, the first is '2'; looked in .*mortar"):
        open_split(source(tmp_path), "val")


@pytest.mark.data
def test_real_pictures_and_lists(tmp_path, data_root):
    for part in ("images", "masks"):
        (tmp_path / part).symlink_to(data_root / "fss-1000-sample" / part)
    (tmp_path / "splits").symlink_to(data_root / "splits" / "fss1000")
    with pytest.warns(UserWarning, match="518 of the 520 classes of train have no pictures"):
        dataset = open_split(source(tmp_path), "train")
    assert sorted(dataset.class_names.values()) == ["apple", "basketball"]
    assert len(dataset) == 20
    assert all(len(found) == 10 for found in dataset.areas.values())
    assert all(dataset.read_mask(i).shape == (224, 224) for i in range(20))
