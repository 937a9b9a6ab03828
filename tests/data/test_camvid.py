import numpy as np
import pytest
from fakes import fake_camvid, lines, mask_file, rectangles

from pixgraph.config import SourceConfig
from pixgraph.data.camvid import CLASSES, open_split
from pixgraph.errors import DataError


def source(root) -> SourceConfig:
    return SourceConfig(name="camvid", root=str(root))


@pytest.mark.parametrize("layout", ["segnet", "images and masks"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_numbers_become_ids_and_void_is_ignored(tmp_path, layout, split):
    dataset = open_split(source(fake_camvid(tmp_path, layout)), split)
    assert list(dataset.class_names.values()) == list(CLASSES)
    assert [s.key for s in dataset.samples] == [f"{split}/{split}_0", f"{split}/{split}_1"]
    expected = rectangles((1, 0, 0, 24, 32), (9, 2, 2, 12, 12), (255, 0, 20, 24, 32))
    np.testing.assert_array_equal(dataset.read_mask(0), expected)


def test_a_wrong_layout_says_what_was_looked_for_and_where(tmp_path):
    with pytest.raises(
        DataError, match=r"camvid: looked for the frames at .*images/val, .*val, found none. Get the folder"
    ):
        open_split(source(tmp_path), "val")
    fake_camvid(tmp_path)
    lines(tmp_path / "val.txt", "val_0", "val_9")
    with pytest.raises(DataError, match=r"1 frames are missing, the first is 'val_9'"):
        open_split(source(tmp_path), "val")


def test_broken_and_foreign_masks_are_named(tmp_path):
    fake_camvid(tmp_path)
    dataset = open_split(source(tmp_path), "train")
    mask_file(tmp_path / "trainannot" / "train_0.png", rectangles((12, 0, 0, 2, 2)))
    with pytest.raises(DataError, match=r"train_0.png: got the numbers 12, unknown to camvid"):
        dataset.read_mask(0)
    path = tmp_path / "trainannot" / "train_1.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"train_1.png: broken or truncated"):
        dataset.read_mask(1)


@pytest.mark.data
@pytest.mark.parametrize(("split", "frames"), [("train", 367), ("val", 101), ("test", 233)])
def test_real_frames(data_root, split, frames):
    dataset = open_split(source(data_root / "camvid"), split)
    assert len(dataset) == frames
    mask = dataset.read_mask(frames // 2)
    assert mask.shape == (360, 480)
    assert set(np.unique(mask)) <= {*range(1, 12), 255}
    assert np.median(mask[:60]) in (1, 2, 6)  # sky, building or tree above
    assert np.bincount(mask[300:].ravel(), minlength=256)[4] > 10_000  # road below
