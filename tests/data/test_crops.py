import numpy as np
import pytest
from fake_own import MemoryDataset
from fakes import rectangles

from pixgraph.data.base import FewShotDataset
from pixgraph.data.crops import ObjectCrops
from pixgraph.errors import ConfigError

SIZE = (60, 80)


def dataset() -> MemoryDataset:
    two_cats = rectangles((1, 5, 5, 15, 25), (1, 40, 50, 50, 60), (2, 30, 30, 36, 36), (255, 0, 0, 2, 80), size=SIZE)
    return MemoryDataset({"a": two_cats, "b": rectangles(size=SIZE), "c": None}, {1: "cat", 2: "dog"})


def test_each_object_is_a_picture_that_shows_it_alone():
    crops = ObjectCrops(dataset(), scale=1.5, min_side=5)
    assert [s.key for s in crops.samples] == ["a#1.1", "a#1.2", "a#2.1"]
    for index, (c, area) in enumerate([(1, 200), (1, 100), (2, 36)]):
        mask = crops.read_mask(index)
        assert np.count_nonzero(mask == c) == area
        assert set(np.unique(mask)) <= {0, c, 255}
        assert crops.read_image(index).shape == (*mask.shape, 3)


def test_the_crop_is_scaled_and_clipped():
    crops = ObjectCrops(dataset(), scale=1.5, min_side=5)
    # 10 x 20 pixels at rows 5..15, columns 5..25: a square of 30 around (10, 15), cut off at the borders.
    assert crops.read_mask(0).shape == (25, 30)
    assert crops.read_mask(1).shape == (15, 15) or abs(crops.read_mask(1).shape[0] - 15) <= 1
    tight = ObjectCrops(dataset(), scale=1.0, min_side=5)
    assert (tight.read_mask(1) == 1).all()
    np.testing.assert_array_equal(tight.read_image(1), np.full((10, 10, 3), 20))


def test_other_objects_in_the_crop_are_background_and_unknown_pixels_stay():
    near = rectangles((1, 10, 10, 30, 30), (1, 10, 32, 30, 52), (255, 32, 10, 34, 52), size=SIZE)
    crops = ObjectCrops(MemoryDataset({"a": near}, {1: "cat"}), scale=2.0, min_side=5)
    mask = crops.read_mask(0)
    assert np.count_nonzero(mask == 1) == 400
    assert (mask == 255).any()


def test_small_objects_and_surplus_ones_are_left_out():
    assert len(ObjectCrops(dataset(), min_side=10)) == 2
    assert [s.key for s in ObjectCrops(dataset(), min_side=5, most=1).samples] == ["a#1.1", "a#2.1"]
    assert len(ObjectCrops(dataset(), min_side=11)) == 0


def test_areas_are_known_without_reading_masks():
    crops = ObjectCrops(dataset(), min_side=5)
    assert crops.areas == {1: {0: 200, 1: 100}, 2: {2: 36}}
    assert crops.areas == FewShotDataset.areas.func(crops)


def test_fingerprints_tell_crops_apart():
    crops = ObjectCrops(dataset(), min_side=5)
    wider = ObjectCrops(dataset(), scale=2.0, min_side=5)
    assert len({*map(crops.fingerprint, range(3)), *map(wider.fingerprint, range(3))}) == 6
    assert all(map(crops.has_mask, range(3)))


def test_a_diagonal_line_is_one_object():
    line = np.eye(60, 80, dtype=np.uint8)
    assert len(ObjectCrops(MemoryDataset({"a": line}, {1: "cat"}))) == 1


@pytest.mark.parametrize("wrong", [{"scale": 0.9}, {"min_side": 0}, {"most": 0}])
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"crops: got scale .*, expected 1 or more of each; correct them"):
        ObjectCrops(dataset(), **wrong)
