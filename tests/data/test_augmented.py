import numpy as np
import pytest
from fake_own import MemoryDataset, fake_ade, single_objects
from fakes import rectangles

from pixgraph.data.ade_objects import AdeObjects
from pixgraph.data.augmented import Augmented
from pixgraph.data.excluding import Excluding
from pixgraph.errors import ConfigError

DATA = single_objects({3: 20, 8: 20})


def test_a_variant_is_the_same_every_time_and_in_any_order():
    first, second = Augmented(DATA, 1, seed=2), Augmented(DATA, 1, seed=2)
    masks = {i: second.read_mask(i) for i in reversed(range(40))}
    for i in range(40):
        np.testing.assert_array_equal(first.read_image(i), second.read_image(i))
        np.testing.assert_array_equal(first.read_mask(i), masks[i])
        assert first.fingerprint(i) == second.fingerprint(i)


def test_variants_and_seeds_differ_from_each_other_and_from_the_picture():
    versions = [DATA, Augmented(DATA, 1), Augmented(DATA, 2), Augmented(DATA, 1, seed=1)]
    for i in range(10):
        assert len({v.fingerprint(i) for v in versions}) == 4
    assert len({b"".join(v.read_mask(i).tobytes() for i in range(20)) for v in versions}) == 4


def test_the_same_picture_with_other_masks_is_another_picture(tmp_path):
    # The crop looks at the mask: objects and parts of one photograph must not share cached features.
    root = fake_ade(tmp_path)
    whole, parts = (Augmented(AdeObjects(root, "train", parts=p), 1) for p in (False, True))
    for i in range(len(whole)):
        same = np.array_equal(whole.read_image(i), parts.read_image(i))
        assert same == (whole.fingerprint(i) == parts.fingerprint(i))


def test_masks_of_pictures_that_count_as_unlabelled_are_not_looked_at(monkeypatch):
    read = []
    monkeypatch.setattr(DATA, "read_mask", lambda i: read.append(i) or type(DATA).read_mask(DATA, i))
    some = Augmented(DATA, 1, labelled={0, 1})
    for i in range(40):
        some.read_image(i)
        some.fingerprint(i)
    assert set(read) == {0, 1}
    assert some.fingerprint(0) == Augmented(DATA, 1).fingerprint(0)
    assert any(some.fingerprint(i) != Augmented(DATA, 1).fingerprint(i) for i in range(2, 40))


def test_picture_and_mask_move_together():
    # The pictures of this data set show 20 x class id in grey, and the background black.
    for i in range(40):
        augmented = Augmented(DATA, 1)
        rgb, mask = augmented.read_image(i), augmented.read_mask(i)
        assert rgb.shape == (*mask.shape, 3) == (24, 32, 3)
        assert (rgb.dtype, mask.dtype) == (np.uint8, np.uint8)
        grey, thing = rgb.mean(axis=2), mask > 0
        assert grey[thing].mean() > grey[~thing].mean() + 10


def test_a_crop_keeps_the_object_and_every_class():
    # Two objects in opposite corners: any smaller crop loses one of them.
    corners = rectangles((1, 0, 0, 3, 4), (2, 21, 28, 24, 32))
    data = MemoryDataset({f"p{i}": corners for i in range(30)}, {1: "a", 2: "b"})
    for variant in (1, 2, 3):
        for i in range(30):
            mask = Augmented(data, variant).read_mask(i)
            assert set(np.unique(mask)) == {0, 1, 2}
    for i in range(40):
        before, after = DATA.read_mask(i), Augmented(DATA, 2).read_mask(i)
        assert np.count_nonzero(after) >= 0.6 * np.count_nonzero(before)


def test_half_of_the_pictures_are_mirrored_and_most_are_cropped():
    left = MemoryDataset({f"p{i}": rectangles((1, 8, 0, 16, 8)) for i in range(100)}, {1: "a"})
    masks = [Augmented(left, 1).read_mask(i) for i in range(100)]
    mirrored = sum(np.argwhere(m)[:, 1].mean() > 16 for m in masks)
    assert 30 <= mirrored <= 70
    assert sum(np.count_nonzero(m) != 64 for m in masks) > 80


def test_unknown_pixels_and_unlabelled_pictures():
    unknown = np.full((24, 32), 255, np.uint8)
    data = MemoryDataset({"u": unknown, "n": None}, {1: "a"})
    augmented = Augmented(data, 1)
    assert (augmented.read_mask(0) == 255).all()
    assert not augmented.has_mask(1)
    assert augmented.read_image(1).shape == (24, 32, 3)


def test_it_stands_in_for_the_data_set():
    augmented = Augmented(DATA, 3)
    assert (augmented.class_names, augmented.samples, len(augmented)) == (DATA.class_names, DATA.samples, len(DATA))
    assert repr(augmented).startswith("Augmented(MemoryDataset(")
    with pytest.raises(ConfigError, match=r"variant: got 0, expected 1 or more"):
        Augmented(DATA, 0)


class PartlyAnnotated(MemoryDataset):
    """254 in the left columns, for who asks."""

    def read_partial_mask(self, index):
        mask = self.read_mask(index).copy()
        mask[:, :3] = 254
        return mask


def test_unannotated_pixels_move_with_the_others_and_stay_when_classes_are_left_out():
    some = PartlyAnnotated({"a": rectangles((1, 2, 2, 9, 20), (2, 12, 4, 20, 9))}, {1: "cat", 2: "dog"})
    moved = Augmented(some, 1, crop=False)
    flipped = not np.array_equal(moved.read_mask(0), some.read_mask(0))
    expected = some.read_partial_mask(0)[:, :: -1 if flipped else 1]
    np.testing.assert_array_equal(moved.read_partial_mask(0), expected)
    left = Excluding(some, ["cat"])
    assert (left.read_partial_mask(0)[:, :3] == 254).all()
    np.testing.assert_array_equal(left.read_partial_mask(0)[:, 3:], left.read_mask(0)[:, 3:])
