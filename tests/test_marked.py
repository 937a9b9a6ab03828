import numpy as np
import pytest
from PIL import Image

from pixgraph.errors import DataError
from pixgraph.marked import read_supports, shown_classes

RGB = np.zeros((20, 30, 3), np.uint8)
MASK = np.zeros((20, 30), np.uint8)
MASK[5:9, 6:12] = 3


def test_points_are_pixels_and_all_else_is_unlabelled():
    (support,) = read_supports(RGB, points=[(6, 5, 3), (29, 19, 0)])
    expected = np.full((20, 30), 254, np.uint8)
    expected[5, 6], expected[19, 29] = 3, 0
    np.testing.assert_array_equal(support.label, expected)
    assert support.rough is None
    assert shown_classes([support]) == [3]


def test_a_list_for_one_picture_and_for_a_list_of_one():
    one = read_supports(RGB, points=[(6, 5, 3)])[0].label
    for images, points in ((RGB, [[(6, 5, 3)]]), ([RGB], [[(6, 5, 3)]]), ([RGB], [np.array([[6, 5, 3]])])):
        np.testing.assert_array_equal(read_supports(images, points=points)[0].label, one)
    line = ([(2, 2), (9, 2)], 1, 1)
    for images, scribbles in ((RGB, [line]), (RGB, [[line]]), ([RGB], [[line]])):
        label = read_supports(images, scribbles=scribbles)[0].label
        assert {(int(y), int(x)) for y, x in np.argwhere(label == 1)} == {(2, x) for x in range(2, 10)}


def test_boxes_are_only_likely_inside_unless_something_else_says_so():
    (support,) = read_supports(RGB, points=[(7, 6, 3), (8, 6, 0), (0, 0, 0)], boxes=[(6, 5, 12, 9, 3)])
    inside = np.zeros((20, 30), bool)
    inside[5:9, 6:12] = True
    assert (support.label[~inside] == 0).all()
    assert support.label[6, 8] == 0
    assert (support.label == 3).sum() == inside.sum() - 1
    sure = np.zeros_like(inside)
    sure[6, 7:9] = True
    np.testing.assert_array_equal(support.rough, inside & ~sure)


def test_kinds_mix_over_pictures(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    found = read_supports(
        [str(tmp_path / "a.png"), RGB, RGB, RGB],
        [MASK, None, None, None],
        points=[None, [(7, 6, 3)], None, None],
        scribbles=[None, None, [([(1, 1), (5, 5)], 2)], None],
        boxes=[None, None, None, [(6, 5, 12, 9, 3)]],
    )
    np.testing.assert_array_equal(found[0].label, MASK)
    assert [sorted(np.unique(s.label)) for s in found[1:]] == [[3, 254], [2, 254], [0, 3]]
    assert shown_classes(found) == [2, 3]


def test_marks_fill_what_a_mask_leaves_open():
    mask = MASK.copy()
    mask[:, 20:] = 254
    (support,) = read_supports(RGB, mask, points=[(25, 10, 3), (7, 6, 3)], boxes=[(22, 2, 30, 18, 3)])
    np.testing.assert_array_equal(support.label[:, :20], MASK[:, :20])
    assert support.label[10, 25] == 3
    assert not support.rough[:, :20].any()
    assert support.rough[3, 23]
    assert not support.rough[10, 25]


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"points": [(30, 0, 1)]}, r"point \(30, 0\) lies outside the picture of 30 x 20"),
        ({"points": [(0, -1, 1)]}, r"point \(0, -1\) lies outside"),
        ({"points": [(1, 1, 254)]}, r"points: got class 254, expected 0 for background or an id in 1\.\.253"),
        ({"points": [(1, 1, -1)]}, "got class -1"),
        ({"points": [(1, 1)]}, r"points: got \(1, 1\), expected \(x, y, class\)"),
        ({"points": [(1.5, 1, 1)]}, "expected .* of whole numbers"),
        ({"points": [("a", 1, 1)]}, "expected .* of whole numbers"),
        ({"points": [(True, 1, 1)]}, "expected .* of whole numbers"),
        ({"points": [(1, 1, float("inf"))]}, "expected .* of whole numbers"),
        ({"points": 5}, r"points: got 5, expected a list of \(x, y, class\) for each picture"),
        ({"points": {0: [(1, 1, 1)]}}, r"points: got \{0: .*\}, expected a list of"),
        ({"points": "abc"}, "points: got 'abc', expected a list"),
        ({"points": np.array(5)}, r"points: got array\(5\), expected a list"),
        ({"scribbles": [([(1, 1)], 1, float("inf"))]}, "expected .* of whole numbers"),
        ({"scribbles": [([(1, 1)], 1, 1e300)]}, "pixels wide, expected at most 30, the longer side of the picture"),
        ({"scribbles": [([(1, 1)], 1, 31)]}, "got a scribble 31 pixels wide, expected at most 30"),
        ({"points": []}, "picture 0 has an empty list of marks"),
        ({"points": [(1, 1, 1), (1, 1, 2)]}, r"contradictory marks, pixel \(1, 1\) is of class 1 and of 2"),
        ({"scribbles": [([], 1)]}, "empty scribble of class 1"),
        ({"scribbles": [([(1, 1), (40, 1)], 1)]}, "lies outside the picture"),
        ({"scribbles": [([(1, 1)], 1, 0)]}, "empty scribble of class 1 .*width 0"),
        ({"points": [(1, 1, 1)], "scribbles": [([(0, 1), (5, 1)], 0)]}, "contradictory marks"),
        ({"boxes": [(3, 3, 3, 9, 1)]}, r"box \[3, 3, 3, 9\] of no area"),
        ({"boxes": [(3, 3, 31, 9, 1)]}, "leaves the picture of 30 x 20"),
        ({"boxes": [(3, 3, 9, 9, 1), (3, 3, 9, 9, 2)]}, "contradictory boxes"),
    ],
)
def test_bad_marks_are_named(marks, message):
    with pytest.raises(DataError, match=message):
        read_supports(RGB, **marks)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(DataError, match=r"got points for 1 pictures, expected a list of .* for each of the 2"):
        read_supports([RGB, RGB], points=[[(1, 1, 1)]])
    for wrong in (5, "x", {0: (1, 1, 1)}):
        with pytest.raises(DataError, match=r"picture 0: points: got .*, expected a list of \(x, y, class\)"):
            read_supports([RGB], points=[wrong])
    with pytest.raises(DataError, match="picture 1 has no mask, points, scribbles or boxes"):
        read_supports([RGB, RGB], points=[[(1, 1, 1)], None])
    with pytest.raises(DataError, match="got 2 pictures and 1 masks"):
        read_supports([RGB, RGB], [MASK])
    with pytest.raises(DataError, match=r"contradictory marks, pixel \(7, 6\) is of class 1 and, in its mask, of 3"):
        read_supports(RGB, MASK, points=[(7, 6, 1)])
    with pytest.raises(DataError, match=r"shows a class; expected class ids in 1..253"):
        shown_classes(read_supports(RGB, points=[(1, 1, 0)]))


def test_marks_inside_a_box_stay_at_a_smaller_size():
    rgb = np.zeros((200, 300, 3), np.uint8)
    box, clicks = (60, 50, 260, 170, 3), [(101, 81, 0), (150, 101, 0), (203, 121, 7)]
    alone, both = (read_supports(rgb, points=p, boxes=[box])[0].ways([3, 7], (20, 30)) for p in (None, clicks))
    assert alone[0].max() == 1
    np.testing.assert_array_equal(alone[1], alone[0] == 1)
    expected = alone[0].copy()
    expected[8, 10] = expected[10, 15] = 0
    expected[12, 20] = 2
    np.testing.assert_array_equal(both[0], expected)
    np.testing.assert_array_equal(both[1], expected == 1)
