import json
import unicodedata

import numpy as np
import pytest
from fakes import mask_file
from test_annotations import scene

from pixgraph.data.annotation_files import class_number, read_annotation, write_annotation
from pixgraph.data.annotations import make_annotation
from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.marks import Box, Point, Scribble
from pixgraph.errors import DataError

SHAPE = (8, 10)
NAMES = {0: "background", 1: "cat", 2: "dog", 3: "potted plant", 5: "Bus", 7: "van"}


def written(tmp_path, content, name="m.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("kind", ["points", "scribbles", "boxes", "tags"])
@pytest.mark.parametrize("background", [0, None])
def test_marks_come_back_from_json(tmp_path, kind, background):
    mask = scene(2)
    made = make_annotation(mask, kind, background=background)
    write_annotation(tmp_path / "a.json", made, NAMES)
    read = read_annotation(tmp_path / "a.json", mask.shape, NAMES, background)
    assert (read.points, read.scribbles, read.boxes, read.tags) == (made.points, made.scribbles, made.boxes, made.tags)
    np.testing.assert_array_equal(read.label, made.label)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("kind", ["points", "masks"])
def test_labels_come_back_from_png(tmp_path, kind):
    made = make_annotation(scene(2), kind)
    write_annotation(tmp_path / "a.png", made, NAMES)
    read = read_annotation(tmp_path / "a.png", made.label.shape, NAMES)
    np.testing.assert_array_equal(read.label, made.label)
    assert read.tags == made.tags


def test_the_documented_json(tmp_path):
    content = {
        "points": [{"x": 5, "y": 7, "class": "cat"}, {"x": 4.9, "y": 0, "class": 0}],
        "scribbles": [
            {"points": [[1, 1], [6, 4]], "width": 3, "class": "Background"},
            {"points": [[9, 0]], "class": 2},
        ],
        "boxes": [{"box": [7, 5, 10, 8], "class": "bus"}],
        "tags": ["potted plant", "dog"],
        "size": [10, 8],
    }
    read = read_annotation(written(tmp_path, content), SHAPE, NAMES)
    assert read.points == (Point(5, 7, 1), Point(4, 0, 0))
    assert read.scribbles == (Scribble(((1, 1), (6, 4)), 3, 0), Scribble(((9, 0),), 1, 2))
    assert read.boxes == (Box(7, 5, 10, 8, 5),)
    assert read.tags == {1, 2, 3, 5}
    assert (read.label[7, 5], read.label[0, 4], read.label[1, 1], read.label[0, 9], read.label[6, 8]) == (1, 0, 0, 2, 5)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"points": [{"x": 10, "y": 0, "class": 1}]},
            r"m.json: the point \(10, 0\) lies outside the picture of 10 x 8",
        ),
        ({"points": [{"x": 0, "y": 0, "class": "cta"}]}, "unknown class 'cta', expected one of .*; did you mean 'cat'"),
        ({"points": [{"x": 0, "y": 0, "class": 4}]}, r"unknown class 4, expected one of 0 \(background\), 1 \(cat\)"),
        ({"points": [{"x": 0, "y": 0, "class": True}]}, "unknown class True"),
        ({"points": [{"x": "0", "y": 0, "class": 1}]}, "cannot understand a mark .*'0' is no number"),
        ({"points": [{"x": float("nan"), "y": 0, "class": 1}]}, "cannot understand a mark"),
        ({"points": [{"x": float("inf"), "y": 0, "class": 1}]}, "cannot understand a mark"),
        ({"points": [{"x": 0, "class": 1}]}, "cannot understand a mark .*'y'"),
        ({"points": {"x": 0}}, "cannot understand a mark .*points is no list"),
        (
            {"points": [{"x": 0, "y": 0, "class": 1}, {"x": 0, "y": 0, "class": 2}]},
            r"pixel \(0, 0\) is of class cat and of dog",
        ),
        ({"scribbles": [{"points": [], "width": 3, "class": 1}]}, "empty scribble of class 1"),
        ({"scribbles": [{"points": [[1]], "class": 1}]}, "cannot understand a mark"),
        ({"boxes": [{"box": [1, 1, 1, 4], "class": 1}]}, r"got the box \[1, 1, 1, 4\] of no area"),
        ({"boxes": [{"box": [1, 1, 4], "class": 1}]}, "a box of 3 numbers"),
        ({"tags": ["cat", "unicorn"]}, "unknown class 'unicorn'"),
        ({"tags": "cat"}, "tags is no list"),
        ({"tags": [["cat"]]}, r"unknown class \['cat'\]"),
        ({"size": [8, 10], "tags": []}, "its marks are for a picture of 8 x 10 pixels, got one of 10 x 8"),
        ({"size": [10, 8, 3], "tags": []}, "a size of 3 numbers"),
        ({"size": 3, "tags": []}, "cannot understand a mark"),
        ({"points": [{"x": 0, "y": 0, "class": 1, "z": 3}]}, "unknown key z in points"),
        ({"scribbles": [{"points": [[1, 1]], "clas": 1}]}, "unknown key clas in scribbles"),
        ({"boxes": [{"box": [1, 1, 4, 4], "class": 1, "width": 3}]}, "unknown key width in boxes"),
        ("[" * 100_000, r"cannot read the marks \(nested too deeply\); expected a JSON file"),
        ({"point": []}, "got the entries point, expected an object with some of points, scribbles"),
        ({}, "got the entries none"),
        ([], "got list, expected an object"),
        ("{", "cannot read the marks"),
    ],
)
def test_bad_json_says_what_is_wrong(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        read_annotation(written(tmp_path, content), SHAPE, NAMES)


def test_bad_pngs(tmp_path):
    label = np.full(SHAPE, UNLABELLED, np.uint8)
    with pytest.raises(DataError, match=r"marks no pixel \(all are 254 or 255\)"):
        read_annotation(mask_file(tmp_path / "a.png", label), SHAPE, NAMES)
    label[0, 0], label[0, 1] = 4, IGNORE
    with pytest.raises(DataError, match=r"unknown class 4"):
        read_annotation(mask_file(tmp_path / "a.png", label), SHAPE, NAMES)
    with pytest.raises(DataError, match=r"got marks of 8 x 10 pixels, expected 10 x 8 like the picture"):
        read_annotation(mask_file(tmp_path / "a.png", label.T.copy()), SHAPE, NAMES)
    with pytest.raises(DataError, match=r"no such file"):
        read_annotation(tmp_path / "b.png", SHAPE, NAMES)
    with pytest.raises(DataError, match=r"ending in '.gif', expected .json, .png, .xml"):
        read_annotation(tmp_path / "b.gif", SHAPE, NAMES)


def test_a_format_must_hold_the_annotation(tmp_path):
    mask = scene()
    with pytest.raises(DataError, match=r"a mask without marks, which JSON does not hold"):
        write_annotation(tmp_path / "a.json", make_annotation(mask, "masks"), NAMES)
    with pytest.raises(DataError, match=r"without labels of pixels"):
        write_annotation(tmp_path / "a.png", make_annotation(mask, "tags"), NAMES)
    with pytest.raises(DataError, match=r"cannot write the annotation"):
        write_annotation(tmp_path / "no" / "a.json", make_annotation(mask, "tags"), NAMES)
    assert not list(tmp_path.iterdir())


def scribblesup(*polygons) -> str:
    """An XML file in the layout of ScribbleSup."""
    body = ""
    for tag, corners in polygons:
        points = "".join(f"<point><X>{x}</X><Y>{y}</Y></point>" for x, y in corners)
        body += f"<polygon><tag>{tag}</tag>{points}</polygon>"
    size = "<size><width>10</width><height>8</height><depth>3</depth></size>"
    return f'<?xml version="1.0"?><annotation><filename>a.jpg</filename>{size}{body}</annotation>'


def test_scribblesup(tmp_path):
    text = scribblesup(("cat", [(1, 1), (4, 1)]), ("background", [(9, 6), (10, 6)]), ("dog", [(2.0, 4)]))
    read = read_annotation(written(tmp_path, text, "a.xml"), SHAPE, NAMES)
    assert read.scribbles == (
        Scribble(((1, 1), (4, 1)), 3, 1),
        Scribble(((9, 6), (9, 6)), 3, 0),
        Scribble(((2, 4),), 3, 2),
    )
    assert read.tags == {1, 2}
    assert (read.label[1, 3], read.label[6, 9], read.label[4, 2], read.label[7, 0]) == (1, 0, 2, UNLABELLED)


def test_scribbles_of_people_may_touch(tmp_path):
    text = scribblesup(("cat", [(0, 3), (9, 3)]), ("dog", [(5, 0), (5, 7)]))
    label = read_annotation(written(tmp_path, text, "a.xml"), SHAPE, NAMES).label
    assert label[3, 5] == UNLABELLED
    assert {1, 2} <= set(np.unique(label))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>", "cannot read the scribbles"),
        (scribblesup(), "got no <polygon>"),
        (scribblesup(("cat", [])), "empty scribble of class 1"),
        (scribblesup(("cow", [(1, 1)])), "unknown class 'cow'"),
        (scribblesup(("cat", [(11, 1)])), r"the scribble's point \(11, 1\) lies outside"),
        (scribblesup(("cat", [("a", 1)])), "got the coordinate 'a', expected numbers in X and Y"),
        (scribblesup(("cat", [(1, 1)]), ("dog", [(1, 1)])), "contradictory marks"),
    ],
)
def test_bad_scribblesup_files(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read_annotation(written(tmp_path, text, "a.xml"), SHAPE, NAMES)


def test_names_match_without_regard_to_case():
    assert class_number(" BUS ", NAMES, "x") == 5
    assert class_number(5, NAMES, "x") == 5


def test_names_that_differ_in_case_alone():
    names = {1: "cat", 2: "CAT", 3: "dog"}
    assert [class_number(name, names, "x") for name in ("CAT", "cat", "Dog")] == [2, 1, 3]
    with pytest.raises(DataError, match=r"x: class 'Cat' may be CAT or cat; write the name as it is there"):
        class_number("Cat", names, "x")


def test_accents_may_be_stored_in_either_way(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert class_number(decomposed, {4: composed}, "x") == class_number(composed, {4: decomposed}, "x") == 4


def test_a_byte_order_mark_is_left_out(tmp_path):
    (tmp_path / "a.json").write_text('{"points": [{"x": 1, "y": 2, "class": "cat"}]}', encoding="utf-8-sig")
    assert read_annotation(tmp_path / "a.json", SHAPE, NAMES).points == (Point(1, 2, 1),)
