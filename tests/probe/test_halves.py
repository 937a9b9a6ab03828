import numpy as np
import pytest
from PIL import Image

from pixgraph.config import SourceConfig
from pixgraph.probe.halves import train_and_scored


@pytest.fixture
def folder(tmp_path):
    """Five classes of four pictures: three train, one validates, one tests."""
    for number, name in enumerate(("apple", "bread", "cup", "dish", "egg")):
        for k in range(4):
            for kind, shade in (("images", 40 * number + k), ("masks", 255)):
                path = tmp_path / kind / name / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((8, 8), shade, np.uint8)).save(path)
    return SourceConfig("folder", str(tmp_path))


def test_splits_that_share_their_classes_are_taken(streets):
    train, scored = train_and_scored(SourceConfig("camvid", str(streets)), "val")
    assert (train.split, scored.split, len(train), len(scored)) == ("train", "val", 6, 3)


@pytest.mark.parametrize(("split", "pictures"), [("val", 4), ("all", 20), ("train", 12)])
def test_halves_have_all_classes_and_no_common_picture(folder, split, pictures):
    train, scored = train_and_scored(folder, split)
    assert len(train) + len(scored) == pictures
    assert not {s.key for s in train.samples} & {s.key for s in scored.samples}
    assert train.split == f"{split}, even pictures"
    assert set(train.areas) == set(scored.areas) == set(scored.class_names)
    assert all(train.areas[c] and scored.areas[c] for c in scored.class_names)


def test_a_half_reads_its_own_pictures(folder):
    train, scored = train_and_scored(folder, "val")
    assert [int(train.read_image(i)[0, 0, 0]) for i in range(2)] == [120, 122]
    assert [int(scored.read_image(i)[0, 0, 0]) for i in range(2)] == [121, 123]
    assert train.has_mask(0)
    assert (train.read_mask(0) == next(iter(train.class_names))).all()
    assert train.fingerprint(0) != train.fingerprint(1)
