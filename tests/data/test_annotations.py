import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.ndimage import label as connected
from skimage.draw import disk

from pixgraph.data.annotations import KINDS, make_annotation
from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.centre_lines import centre_lines, scribble_along
from pixgraph.data.marks import Box, from_marks
from pixgraph.data.mask_parts import SMALLEST, MaskParts
from pixgraph.data.semantic import open_semantic
from pixgraph.errors import ConfigError

CORNERS_TOO = np.ones((3, 3))


def scene(seed: int = 0, shape: tuple[int, int] = (64, 80)) -> np.ndarray:
    """Discs of five classes on background, with a stripe to ignore and single stray pixels."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    for c in (1, 2, 3, 2, 5):
        mask[disk((rng.integers(8, 56), rng.integers(8, 72)), rng.integers(3, 14), shape=shape)] = c
    mask[:, 40:42] = IGNORE
    mask[rng.integers(0, 64, 6), rng.integers(0, 80, 6)] = 7
    return mask


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["points", "scribbles"])
def test_marks_never_lie(kind, seed):
    mask = scene(seed)
    made = make_annotation(mask, kind, seed, "x")
    marked = made.label < UNLABELLED
    np.testing.assert_array_equal(made.label[marked], mask[marked])
    assert set(np.unique(made.label[marked])) == set(np.unique(mask)) - {IGNORE}
    assert (made.label[~marked] == UNLABELLED).all()  # where 255 is would give outlines away
    assert made.tags == set(np.unique(mask).tolist()) - {0, IGNORE}
    np.testing.assert_array_equal(from_marks(mask.shape, made.points, made.scribbles).label, made.label)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_points_have_their_number_and_keep_from_the_border(count):
    mask = scene(3)
    made = make_annotation(mask, "points", 1, "x", num_points=count)
    for c in set(np.unique(mask)) - {IGNORE}:
        inside = mask == c
        mine = [p for p in made.points if p.class_id == c]
        assert len({(p.x, p.y) for p in mine}) == len(mine) == min(count, inside.sum())
        parts, _ = connected(inside, CORNERS_TOO)
        depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        for p in mine if inside.sum() > 400 else ():
            assert depth[p.y, p.x] >= min(depth[parts == parts[p.y, p.x]].max() / 2, 0.04 * 64)


def test_points_spread():
    mask = np.zeros((100, 100), np.uint8)
    nearest = []
    for seed in range(20):
        at = np.array([(p.x, p.y) for p in make_annotation(mask, "points", seed).points])
        gaps = np.hypot(*(at[:, None] - at).transpose(2, 0, 1)) + 1000 * np.eye(5)
        nearest.append(gaps.min())
    assert np.mean(nearest) > 30  # uniform draws have 15 on average


def test_specks_get_no_marks_and_thin_things_do():
    mask = np.zeros((50, 50), np.uint8)
    mask[10:40, 10:40], mask[2, 2] = 1, 1
    mask[45, 5:45] = 2
    for kind in ("points", "scribbles", "boxes"):
        made = make_annotation(mask, kind)
        assert made.label[2, 2] != 1
        assert (made.label == 2).any()
    assert [s.width for s in make_annotation(mask, "scribbles").scribbles if s.class_id == 2] == [1]
    assert (mask == 1).sum() * SMALLEST > 1


def test_one_pixel_is_enough():
    mask = np.zeros((5, 6), np.uint8)
    mask[4, 0] = 1
    assert make_annotation(mask, "points").label[4, 0] == 1
    assert make_annotation(mask, "scribbles").label[4, 0] == 1
    assert make_annotation(mask, "boxes").boxes == (Box(0, 4, 1, 5, 1),)


@pytest.mark.parametrize("seed", range(4))
def test_boxes_are_those_of_the_parts(seed):
    mask = scene(seed)
    made = make_annotation(mask, "boxes")
    expected = set()
    for c in set(np.unique(mask).tolist()) - {0, IGNORE}:
        parts, count = connected(mask == c, CORNERS_TOO)
        areas = [(parts == n).sum() for n in range(1, count + 1)]
        for n, area in enumerate(areas, 1):
            rows, cols = np.nonzero(parts == n)
            if area >= SMALLEST * max(areas):
                expected.add(Box(cols.min(), rows.min(), cols.max() + 1, rows.max() + 1, c))
    assert set(made.boxes) == expected
    joined = make_annotation(mask, "boxes", one_box=True)
    assert [b.class_id for b in joined.boxes] == sorted(made.tags)


def test_without_a_background_class_zero_is_one_of_all():
    mask = np.zeros((20, 20), np.uint8)
    mask[:, 10:] = 1
    made = make_annotation(mask, "boxes", background=None)
    assert {b.class_id for b in made.boxes} == made.tags == {0, 1}
    np.testing.assert_array_equal(made.label, mask)
    assert make_annotation(mask, "tags", background=None).tags == {0, 1}


def test_masks_and_tags():
    mask = scene()
    full = make_annotation(mask, "masks")
    np.testing.assert_array_equal(full.label, mask)
    tags = make_annotation(mask, "tags")
    assert tags.label is None
    assert tags.tags == full.tags == set(np.unique(mask).tolist()) - {0, IGNORE}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_with_little_to_mark(kind):
    nothing = make_annotation(np.full((6, 7), IGNORE, np.uint8), kind)
    assert not nothing.tags
    assert nothing.label is None or (nothing.label[nothing.label < UNLABELLED] == 0).all()
    background = make_annotation(np.zeros((6, 7), np.uint8), kind)
    assert not background.tags
    if kind == "boxes":
        assert (background.label == 0).all()


@pytest.mark.parametrize("kind", ["points", "scribbles"])
def test_draws_depend_on_seed_and_key_alone(kind):
    mask = scene(1)
    one, again = make_annotation(mask, kind, 3, "a"), make_annotation(mask.copy(), kind, 3, "a")
    np.testing.assert_array_equal(one.label, again.label)
    assert (make_annotation(mask, kind, 4, "a").label != one.label).any()
    assert (make_annotation(mask, kind, 3, "b").label != one.label).any()
    fewer = np.where(mask == 3, 0, mask)  # one class less leaves the others' marks where they were
    np.testing.assert_array_equal(make_annotation(fewer, kind, 3, "a").label == 5, one.label == 5)


@pytest.mark.parametrize("seed", range(4))
def test_parts_and_depths_are_those_of_each_class_alone(seed):
    mask = scene(seed)
    parts = MaskParts(mask)
    for c in set(np.unique(mask)) - {IGNORE}:
        expected, count = connected(mask == c, CORNERS_TOO)
        own = np.where(mask == c, parts.numbers, 0)
        assert len(np.unique(own[own > 0])) == count
        assert len({(a, b) for a, b in zip(own.ravel(), expected.ravel(), strict=True)}) == count + (count < own.size)
        depth = distance_transform_edt(np.pad(mask == c, 1))[1:-1, 1:-1]
        assert (np.abs(parts.depth - depth)[mask == c] < 1).all()
    assert (parts.numbers[mask == IGNORE] == 0).all()


def part_of(inside: np.ndarray) -> tuple[MaskParts, int, np.ndarray]:
    """A region as class 1 on pixels to ignore: its parts, its number and its line."""
    parts = MaskParts(np.where(inside, 1, IGNORE).astype(np.uint8))
    lines = centre_lines(parts)
    return parts, *next(iter(lines.items()))


@pytest.mark.parametrize("width", [1, 3, 5])
def test_the_line_of_a_bar(width):
    bar = np.zeros((20, 60), bool)
    bar[5:14, 3:57] = True
    parts, number, path = part_of(bar)
    assert len(path) > 44
    assert set(path[len(path) // 4 : -len(path) // 4, 0]) <= {8, 9, 10}
    assert (np.abs(np.diff(path, axis=0)).max(1) == 1).all()
    drawn = scribble_along(path, parts, number, width, np.random.default_rng(0))
    assert (drawn.width, drawn.class_id) == (width, 1)
    assert 25 < np.ptp([x for x, _ in drawn.points]) < 52


def test_the_line_of_a_ring_runs_around_it():
    ring = np.zeros((41, 41), bool)
    ring[disk((20, 20), 18)] = True
    ring[disk((20, 20), 9)] = False
    path = part_of(ring)[2]
    assert (np.abs(np.hypot(*(path - 20).T) - 13.5) < 2.5).all()
    assert len(path) > 30


def test_lines_of_touching_regions_stay_apart():
    mask = np.repeat(np.arange(12, dtype=np.uint8), 2)[:, None].repeat(40, 1)  # stripes of two pixels
    lines = centre_lines(MaskParts(mask))
    assert len(lines) == 12
    for path in lines.values():
        assert len(set(mask[path[:, 0], path[:, 1]])) == 1
        assert len(path) > 30


def test_bad_settings():
    mask = np.zeros((4, 4), np.uint8)
    with pytest.raises(ConfigError, match=r"got 'lines', expected one of masks, points, scribbles, boxes, tags"):
        make_annotation(mask, "lines")
    with pytest.raises(ConfigError, match=r"got 0 points and width 3, expected at least 1"):
        make_annotation(mask, "points", num_points=0)
    with pytest.raises(ConfigError, match=r"seed: got -2"):
        make_annotation(mask, "points", -2)


@pytest.mark.data
@pytest.mark.parametrize("place", ["camvid", "ade20k-objects"])
def test_marks_of_real_masks_are_right_and_leave_no_class_out(data_root, place):
    split = open_semantic(f"{place}:{data_root / place}", "val")
    for index in range(0, len(split), len(split) // 5):
        mask = split.read_label(index)
        for kind in ("points", "scribbles"):
            label = make_annotation(mask, kind, 0, split.keys[index], background=split.background).label
            marked = label < UNLABELLED
            np.testing.assert_array_equal(label[marked], mask[marked])
            assert set(np.unique(label[marked])) == set(np.unique(mask[mask < UNLABELLED]))
            assert marked.mean() < 0.1
