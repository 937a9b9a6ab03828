import numpy as np
import pytest
from fakes import fake_blood_cells, fake_nuclei, mask_file, rectangles

from pixgraph.config import SourceConfig
from pixgraph.data import blood_cells, nuclei
from pixgraph.errors import DataError


def source(name, root) -> SourceConfig:
    return SourceConfig(name=name, root=str(root))


def test_nuclei_as_published_join_the_single_masks(tmp_path):
    dataset = nuclei.open_split(source("nuclei", fake_nuclei(tmp_path)), "train")
    assert dataset.class_names == {1: "nucleus"}
    assert [s.key for s in dataset.samples] == ["id0", "id1"]
    np.testing.assert_array_equal(dataset.read_mask(0), rectangles((1, 2, 2, 8, 8), (1, 12, 12, 20, 20)))


def test_nuclei_with_numbered_instances_have_a_class_a_group(tmp_path):
    dataset = nuclei.open_split(source("nuclei", fake_nuclei(tmp_path, "instances")), "test")
    assert dataset.class_names == {1: "nucleus (dark)", 2: "nucleus (stained)"}
    assert dataset.areas == {1: {0: 100, 1: 100}, 2: {2: 100, 3: 100}}
    np.testing.assert_array_equal(dataset.read_mask(2), rectangles((2, 2, 2, 8, 8), (2, 12, 12, 20, 20)))


def test_nuclei_say_what_is_missing(tmp_path):
    with pytest.raises(
        DataError, match=r"nuclei: looked for the pictures at .*images, .*stage1_train, found none. Get"
    ):
        nuclei.open_split(source("nuclei", tmp_path), "train")
    fake_nuclei(tmp_path)
    dataset = nuclei.open_split(source("nuclei", tmp_path), "train")
    for file in (tmp_path / "stage1_train/id1/masks").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"looked for masks of single nuclei in .*id1/masks, found none"):
        dataset.read_mask(1)
    (tmp_path / "stage1_train/id0/masks/a.png").write_bytes(b"x" * 99)
    with pytest.raises(DataError, match=r"a.png: not a picture"):
        dataset.read_mask(0)


@pytest.mark.parametrize("layout", ["published", "images and masks"])
def test_blood_cells(tmp_path, layout):
    dataset = blood_cells.open_split(source("blood_cells", fake_blood_cells(tmp_path, layout)), "train")
    assert [s.key for s in dataset.samples] == ["001", "002"]
    np.testing.assert_array_equal(dataset.read_mask(0), rectangles((1, 2, 2, 20, 20), (2, 6, 6, 12, 12)))


def test_blood_cells_say_what_is_missing(tmp_path):
    with pytest.raises(DataError, match=r"blood_cells: looked for pictures in .*found none. Get github.com/zxaoyou"):
        blood_cells.open_split(source("blood_cells", tmp_path), "train")
    fake_blood_cells(tmp_path)
    mask_file(tmp_path / "001.png", rectangles((7, 0, 0, 2, 2)))
    with pytest.raises(DataError, match=r"001.png: got the numbers 7, unknown to blood_cells"):
        blood_cells.open_split(source("blood_cells", tmp_path), "train").read_mask(0)
    (tmp_path / "002.png").unlink()
    with pytest.raises(DataError, match=r"1 masks are missing, the first is '002'"):
        blood_cells.open_split(source("blood_cells", tmp_path), "train")


@pytest.mark.data
def test_real_pictures(data_root):
    found = nuclei.open_split(source("nuclei", data_root / "dsb2018-nuclei"), "train")
    assert [len(a) for a in found.areas.values()] == [90, 50]
    cells = blood_cells.open_split(source("blood_cells", data_root / "wbc"), "train")
    assert [len(a) for a in cells.areas.values()] == [300, 300]
