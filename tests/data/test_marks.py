import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.data.base import UNLABELLED
from pixgraph.data.marks import Box, Point, Scribble, box_label, from_marks, scribble_pixels, thicken
from pixgraph.errors import DataError

SHAPE = (8, 10)
__ = UNLABELLED


def drawn(scribble: Scribble, shape=SHAPE) -> np.ndarray:
    label = np.zeros(shape, int)
    label[scribble_pixels(scribble, shape)] = 1
    return label


def test_points_mark_their_pixels_and_nothing_else():
    made = from_marks((3, 4), [Point(0, 1, 2), Point(3, 2, 0)])
    np.testing.assert_array_equal(made.label, [[__, __, __, __], [2, __, __, __], [__, __, __, 0]])
    assert made.label.dtype == np.uint8
    assert made.tags == {2}
    assert from_marks((3, 4), [Point(3, 2, 0)], background=None).tags == {0}


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7])
def test_a_dot_is_a_disc_of_the_pen(width):
    y, x = np.mgrid[:21, :21]
    dot = drawn(Scribble(((10, 10),), width, 1), (21, 21)).astype(bool)
    distance = np.hypot(y - 10, x - 10)
    assert dot[distance <= (width - 1) / 2].all()
    assert not dot[distance > width / 2].any()
    np.testing.assert_array_equal(dot, dot.T)
    np.testing.assert_array_equal(dot, dot[::-1, ::-1])


def test_scribbles_run_through_their_corners():
    bent = drawn(Scribble(((1, 1), (8, 1), (8, 6)), 1, 1))
    expected = np.zeros(SHAPE, int)
    expected[1, 1:9] = expected[1:7, 8] = 1
    np.testing.assert_array_equal(bent, expected)
    np.testing.assert_array_equal(drawn(Scribble(((8, 6), (8, 1), (1, 1)), 1, 1)), expected)


def test_a_thick_pen_is_cut_at_the_border():
    label = drawn(Scribble(((0, 0), (9, 0)), 5, 1))
    np.testing.assert_array_equal(label[:, 4], [1, 1, 1, 0, 0, 0, 0, 0])


def test_boxes_fill_and_smaller_ones_lie_in_front():
    boxes = [Box(0, 0, 3, 3, 2), Box(1, 1, 2, 2, 3)]
    expected = [[2, 2, 2, 0], [2, 3, 2, 0], [2, 2, 2, 0]]
    np.testing.assert_array_equal(box_label(boxes, (3, 4)), expected)
    np.testing.assert_array_equal(box_label(boxes[::-1], (3, 4)), expected)
    np.testing.assert_array_equal(box_label(boxes, (3, 4), None)[:, 3], [__] * 3)


def test_pixels_of_equally_large_boxes_belong_to_nobody():
    boxes = [Box(0, 0, 3, 1, 1), Box(1, 0, 4, 1, 2)]
    np.testing.assert_array_equal(box_label(boxes, (1, 5)), [[1, __, __, 2, 0]])
    np.testing.assert_array_equal(box_label([Box(0, 0, 3, 1, 1), Box(1, 0, 4, 1, 1)], (1, 5)), [[1, 1, 1, 1, 0]])


CORNERS = st.tuples(st.integers(0, 8), st.integers(0, 6), st.integers(1, 10), st.integers(1, 8))
BOXES = st.lists(
    CORNERS.filter(lambda b: b[0] < b[2] and b[1] < b[3]).flatmap(
        lambda b: st.integers(1, 4).map(lambda c: Box(*b, c))
    ),
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(BOXES)
def test_box_labels_by_brute_force(boxes):
    label = box_label(boxes, SHAPE)
    for y in range(SHAPE[0]):
        for x in range(SHAPE[1]):
            over = [b for b in boxes if b.x1 <= x < b.x2 and b.y1 <= y < b.y2]
            front = {b.class_id for b in over if b.area == min(o.area for o in over)}
            assert label[y, x] == (0 if not front else front.pop() if len(front) == 1 else UNLABELLED)


@settings(max_examples=40, deadline=None)
@given(BOXES, st.permutations([1, 2, 3, 4]))
def test_class_numbers_have_no_meaning(boxes, order):
    table = np.arange(256)
    table[1:5] = order
    renamed = [Box(b.x1, b.y1, b.x2, b.y2, int(table[b.class_id])) for b in boxes]
    np.testing.assert_array_equal(box_label(renamed, SHAPE), table[box_label(boxes, SHAPE)])


def test_points_and_scribbles_win_over_boxes():
    made = from_marks((3, 4), [Point(0, 0, 0)], [Scribble(((3, 0), (3, 2)), 1, 2)], [Box(0, 0, 2, 3, 1)], [5])
    np.testing.assert_array_equal(made.label, [[0, 1, 0, 2], [1, 1, 0, 2], [1, 1, 0, 2]])
    assert made.tags == {1, 2, 5}


def test_tags_alone_say_nothing_about_pixels():
    made = from_marks((3, 4), tags=[1, 3, 0])
    assert made.label is None
    assert made.tags == {1, 3}


def test_renumbering_covers_everything():
    table = np.arange(256, dtype=np.uint8)
    table[[0, 1, 2]] = [10, 11, 12]
    made = from_marks((2, 5), [Point(0, 0, 1)], [Scribble(((2, 0), (3, 0)), 1, 2)], [Box(0, 0, 2, 2, 1)], [2])
    other = made.renumbered(table)
    np.testing.assert_array_equal(other.label, table[made.label])
    assert (other.tags, other.points[0].class_id, other.scribbles[0].class_id, other.boxes[0].class_id) == (
        {11, 12},
        11,
        12,
        11,
    )


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ({"points": [Point(10, 0, 1)]}, r"m.json: the point \(10, 0\) lies outside the picture of 10 x 8 pixels"),
        ({"points": [Point(0, -1, 1)]}, r"the point \(0, -1\) lies outside"),
        ({"scribbles": [Scribble(((0, 0), (0, 8)), 1, 1)]}, r"the scribble's point \(0, 8\) lies outside"),
        ({"scribbles": [Scribble((), 3, 4)]}, r"empty scribble of class 4 \(0 points, width 3\)"),
        ({"scribbles": [Scribble(((0, 0),), 0, 4)]}, r"empty scribble of class 4 \(1 points, width 0\)"),
        ({"boxes": [Box(2, 2, 2, 5, 1)]}, r"got the box \[2, 2, 2, 5\] of no area, expected x1 < x2"),
        ({"boxes": [Box(5, 2, 2, 5, 1)]}, r"of no area"),
        ({"boxes": [Box(5, 2, 11, 5, 1)]}, r"the box \[5, 2, 11, 5\] leaves the picture of 10 x 8 pixels"),
        ({"boxes": [Box(0, 0, 2, 2, 1), Box(0, 0, 2, 2, 3)]}, r"contradictory boxes, .* is of class 1 and of 3"),
        ({"points": [Point(3, 4, 1), Point(3, 4, 2)]}, r"contradictory marks, pixel \(3, 4\) is of class 1 and of 2"),
        (
            {"points": [Point(3, 4, 1)], "scribbles": [Scribble(((0, 4), (9, 4)), 3, 0)]},
            r"contradictory marks, pixel \(3, 4\) is of class 1 and of 0",
        ),
    ],
)
def test_bad_marks_say_what_is_wrong(marks, words):
    with pytest.raises(DataError, match=words):
        from_marks(SHAPE, **marks, where="m.json")


def test_crossing_lines_may_be_left_open():
    lines = [Scribble(((0, 2), (9, 2)), 1, 1), Scribble(((4, 0), (4, 7)), 1, 2)]
    label = from_marks(SHAPE, scribbles=lines, crossing=True).label
    assert label[2, 4] == UNLABELLED
    assert (label == 1).sum() == 9
    assert (label == 2).sum() == 7
    with pytest.raises(DataError, match=r"contradictory marks, other classes cover one of class 1"):
        from_marks(
            SHAPE,
            scribbles=[Scribble(((0, 2), (9, 2)), 1, 1), Scribble(((2, 2),), 1, 1), lines[0]]
            + [Scribble(((0, 2), (9, 2)), 3, 2)],
            crossing=True,
        )


def test_marks_are_thickened_by_the_nearest():
    label = np.full((1, 12), UNLABELLED, np.uint8)
    label[0, [2, 7]], label[0, 9] = (1, 2), 255
    np.testing.assert_array_equal(thicken(label, 2), [[1, 1, 1, 1, 1, 2, 2, 2, 2, 255, __, __]])
    np.testing.assert_array_equal(thicken(label, 0), label)
    empty = np.full((2, 2), UNLABELLED, np.uint8)
    np.testing.assert_array_equal(thicken(empty, 5), empty)


@pytest.mark.parametrize("width", [25, 26, 40, 61])
def test_wide_pens_draw_what_discs_at_each_pixel_draw(width):
    scribble = Scribble(((10, 5), (45, 30), (50, 30)), width, 1)
    thin = drawn(Scribble(scribble.points, 1, 1), (70, 64))
    y, x = np.mgrid[:70, :64]
    expected = np.zeros((70, 64), bool)
    for row, column in np.argwhere(thin):
        expected |= (y - row) ** 2 + (x - column) ** 2 <= ((width - 1) / 2 + 0.25) ** 2
    np.testing.assert_array_equal(drawn(scribble, (70, 64)), expected)


@pytest.mark.parametrize("width", [11, 10**6, 10**400])
def test_a_pen_wider_than_the_picture_is_refused(width):
    with pytest.raises(
        DataError, match=r"m\.json: got a scribble 1.* pixels wide, expected at most 10, the longer side"
    ):
        from_marks(SHAPE, scribbles=[Scribble(((0, 0),), width, 1)], where="m.json")


def test_contradictions_are_told_by_name():
    names = {1: "cat", 2: "dog"}
    with pytest.raises(DataError, match=r"pixel \(3, 4\) is of class cat and of dog"):
        from_marks(SHAPE, [Point(3, 4, 1), Point(3, 4, 2)], names=names)
    with pytest.raises(DataError, match=r"contradictory boxes, \[0, 0, 2, 2\] is of class cat and of dog"):
        from_marks(SHAPE, boxes=[Box(0, 0, 2, 2, 1), Box(0, 0, 2, 2, 2)], names=names)
