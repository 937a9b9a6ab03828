import json
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

from pixgraph.cli.main import main
from pixgraph.data.annotation_sets import SavedAnnotations
from pixgraph.data.semantic import open_semantic
from pixgraph.errors import DataError
from pixgraph.support_folder import read_support_folder

FAST = ["--method", "prototype", "--backbone.size", "64", "--device", "cpu"]


def marks_of(mask, kind):
    rows, columns = np.nonzero(mask)
    top, left, bottom, right = (int(v) for v in (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1))
    points = [{"x": left + 5 * k, "y": top + 5 * k, "class": "apple"} for k in range(1, 4)]
    points += [{"x": 0, "y": 0, "class": "background"}, {"x": 63, "y": 47, "class": 0}]
    line = [{"points": [[left + 2, top + 12], [right - 3, top + 12]], "width": 3, "class": 1}]
    frame = [{"points": [[0, 0], [63, 0], [63, 47], [0, 47], [0, 0]], "class": "background"}]
    box = [{"box": [left, top, right, bottom], "class": "apple"}]
    return {"points": {"points": points}, "scribbles": {"scribbles": line + frame}, "boxes": {"boxes": box}}[kind]


@pytest.fixture
def marked_supports(support, tmp_path):
    """Writes the two pictures of an apple with marks in place of masks."""

    def write(kind, by_class, suffix=".json"):
        return write_supports(tmp_path / "marked", support, kind, by_class, suffix)

    return write


def write_supports(root, source, kind, by_class, suffix):
    within = "apple" if by_class else "."
    for name in ("images", "marks"):
        (root / name / within).mkdir(parents=True)
    if not by_class:
        (root / "classes.json").write_text('["background", "apple"]')
    for k in range(2):
        rgb, mask = (np.asarray(Image.open(source / part / "apple" / f"{k}.png")) for part in ("images", "masks"))
        mask = mask // 255
        Image.fromarray(rgb).save(root / "images" / within / f"{k}.png")
        target = root / "marks" / within / f"{k}{suffix}"
        if suffix == ".json":
            target.write_text(json.dumps(marks_of(mask, kind)))
        else:
            label = np.full(mask.shape, 254, np.uint8)
            label[::6, ::6] = mask[::6, ::6]
            Image.fromarray(label).save(target)
    return root


@pytest.mark.parametrize(
    ("kind", "by_class", "suffix"),
    [("points", True, ".json"), ("scribbles", False, ".json"), ("boxes", True, ".json"), ("", False, ".png")],
)
def test_prediction_from_files_of_marks(marked_supports, tmp_path, query, kind, by_class, suffix):
    marked = marked_supports(kind, by_class, suffix)
    out = tmp_path / "out"
    assert main(["predict", "--support", str(marked), "--query", str(query), "--out", str(out), *FAST]) == 0
    red = np.asarray(Image.open(query / "a.png"))[:, :, 0] > 200
    mask = np.asarray(Image.open(out / "masks" / "a.png")) == 1
    assert (red & mask).sum() / (red | mask).sum() > 0.5
    assert json.loads((out / "predictions.json").read_text())["classes"] == {"1": "apple"}


def test_masks_and_marks_in_one_folder(support):
    for path in ((support / "masks" / "apple" / "1.png"),):
        path.unlink()
    (support / "marks" / "apple").mkdir(parents=True)
    (support / "marks" / "apple" / "1.json").write_text('{"points": [{"x": 9, "y": 9, "class": "apple"}]}')
    found = read_support_folder(support)
    assert found.names == {1: "apple"}
    assert [sorted(np.unique(s.label)) for s in found.supports] == [[0, 1], [1, 254]]


def test_a_partial_mask_is_completed_by_marks(marked_supports):
    root = marked_supports("points", False)
    (root / "masks").mkdir()
    partial = np.full((48, 64), 254, np.uint8)
    partial[40:, 50:] = 0
    Image.fromarray(partial).save(root / "masks" / "0.png")
    first = read_support_folder(root).supports[0].label
    assert (first[40:, 50:] == 0).all()
    assert (first == 1).sum() == 3
    assert first[0, 0] == 0
    assert first[0, 1] == 254


def test_numbers_of_a_table_without_background(marked_supports):
    root = marked_supports("boxes", False)
    (root / "classes.json").write_text('["plate", "apple"]')
    found = read_support_folder(root)
    assert found.names == {1: "plate", 2: "apple"}
    assert set(np.unique(found.supports[0].label)) == {2, 254}
    assert found.supports[0].rough.any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"points": [{"x": 64, "y": 0, "class": "apple"}]}, "0.json: the point (64, 0) lies outside the picture"),
        ({"points": [{"x": 4, "y": 0, "class": "aple"}]}, "unknown class 'aple', expected one of background, apple"),
        ({"scribbles": [{"points": [], "class": "apple"}]}, "empty scribble of class 1"),
        ({"boxes": [{"box": [4, 4, 4, 9], "class": "apple"}]}, "of no area"),
        (
            {"points": [{"x": 4, "y": 0, "class": "apple"}, {"x": 4, "y": 0, "class": "background"}]},
            "contradictory marks, pixel (4, 0) is of class apple and of background",
        ),
        ({"points": []}, "0.json: marks nothing; add points, scribbles or boxes"),
        ({"tags": ["apple"]}, "marks no pixel, only tags; add points, scribbles or boxes"),
    ],
)
def test_bad_marks_end_in_one_line_and_nothing_is_written(marked_supports, tmp_path, query, fails, content, message):
    root = marked_supports("points", False)
    (root / "marks" / "0.json").write_text(json.dumps(content))
    line = fails("predict", "--support", root, "--query", query, "--out", tmp_path / "out", *FAST)
    assert message in line
    assert not (tmp_path / "out").exists()


def test_marks_without_a_picture_or_twice_or_without_classes(marked_supports):
    root = marked_supports("points", False)
    (root / "marks" / "7.json").write_text("{}")
    with pytest.raises(DataError, match=r"7\.json: no picture of this name"):
        read_support_folder(root)
    (root / "marks" / "7.json").unlink()
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(root / "marks" / "0.png")
    with pytest.raises(DataError, match=r"0\.png: a second file of marks for 0, beside 0\.json"):
        read_support_folder(root)
    (root / "marks" / "0.png").unlink()
    (root / "classes.json").unlink()
    with pytest.raises(DataError, match=r"no classes\.json and no class folders in images"):
        read_support_folder(root)


def test_evaluation_and_training_from_marks(shared_folder, tmp_path, capsys):
    data = ["--data.name", "folder", "--data.root", str(shared_folder), "--backbone.size", "64", "--device", "cpu"]
    small = ["--graph.dilations", "[1]", "--runs", str(tmp_path)]
    marks = ["--support_annotation", "points", "--num_points", "3", "--episodes", "3", "--seeds", "1"]
    assert main(["evaluate", "--method", "propagate", "--name", "e", *data, *small, *marks]) == 0
    (scores,) = (tmp_path / "e" / "evaluations").glob("*-points.json")
    found = json.loads(scores.read_text())
    assert (found["support_annotation"], found["num_points"]) == ("points", 3)
    assert (tmp_path / "e" / "index.html").is_file()
    train = ["--train.steps", "2", "--train.val_every", "2", "--train.val_episodes", "2", "--train.batch", "2"]
    mix = ["--episodes.support_annotation", "mix", "--episodes.num_points", "3", "--run", "t", "--train.augment", "1"]
    assert main(["train", *data, *small, *train, *mix]) == 0
    config = yaml.safe_load((tmp_path / "t" / "config.yaml").read_text())
    assert config["episodes"]["support_annotation"] == "mix"
    capsys.readouterr()


def test_a_wrong_kind_is_named(shared_folder, fails):
    line = fails("evaluate", "--method", "knn", "--data.name", "folder", "--support_annotation", "tags")
    assert "support_annotation: got 'tags', expected one of masks, points, scribbles, boxes, mix" in line
    assert "num_points: got 0" in fails("evaluate", "--method", "knn", "--num_points", "0")


@pytest.mark.parametrize("table", [["background", "apple"], ["apple", "plate"], {"0": "bg", "4": "void", "7": "apple"}])
@pytest.mark.parametrize("kind", ["masks", "p25", "points", "boxes"])
def test_what_annotate_writes_is_read_as_supports_and_for_training(shared_folder, tmp_path, capsys, table, kind):
    root = tmp_path / "data"
    numbers = {int(n): name for n, name in (table.items() if isinstance(table, dict) else enumerate(table))}
    apple = next(n for n, name in numbers.items() if name == "apple")
    other = min(n for n in numbers if n != apple)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    (root / "classes.json").write_text(json.dumps(table))
    for k in range(3):
        shutil.copy(shared_folder / "images" / "apple" / f"{k}.png", root / "images")
        mask = np.asarray(Image.open(shared_folder / "masks" / "apple" / f"{k}.png"))
        Image.fromarray(np.where(mask, apple, other).astype(np.uint8)).save(root / "masks" / f"{k}.png")
    whole = read_support_folder(root)
    out = tmp_path / "out"
    assert main(["data", "annotate", str(root), "--kind", kind, "--split", "all", "--out", str(out)]) == 0
    split = open_semantic(str(root), "all")
    saved = SavedAnnotations(out, split)
    (root / "masks").rename(tmp_path / "truth")
    out.rename(root / "marks")
    found = read_support_folder(root)
    assert found.names == whole.names
    for k, (marked, full) in enumerate(zip(found.supports, whole.supports, strict=True)):
        saved.files[k] = root / "marks" / saved.files[k].name
        label = split.to_ids(saved.read(k).label)
        for read in (marked.label, label):
            known = read < 254
            assert set(np.unique(read[known])) >= (
                {c for c in np.unique(full.label) if c} if kind != "boxes" else set()
            )
            np.testing.assert_array_equal(read[known], full.label[known])
    capsys.readouterr()


@pytest.mark.parametrize("kind", ["masks", "p25", "scribbles"])
def test_annotations_of_class_folders_are_supports(shared_folder, tmp_path, capsys, kind):
    assert main(["data", "annotate", str(shared_folder), "--kind", kind, "--out", str(tmp_path / "s" / "marks")]) == 0
    for name in ("apple", "bread", "cup"):
        shutil.copytree(shared_folder / "images" / name, tmp_path / "s" / "images" / name)
    found = read_support_folder(tmp_path / "s")
    assert found.names == {1: "apple", 2: "bread", 3: "cup"}
    assert [sorted({*np.unique(s.label)} - {0, 254}) for s in found.supports] == [[1]] * 3 + [[2]] * 3 + [[3]] * 3
    capsys.readouterr()


def test_an_entry_called_void_is_unknown_in_marks_as_in_masks(marked_supports):
    root = marked_supports("points", False)
    (root / "classes.json").write_text('["background", "apple", "void"]')
    marks = {"points": [{"x": 4, "y": 0, "class": 2}, {"x": 5, "y": 0, "class": "void"}], "tags": ["void"]}
    (root / "marks" / "0.json").write_text(json.dumps(marks))
    label = read_support_folder(root).supports[0].label
    assert label[0, 4] == label[0, 5] == 255
    assert (label < 254).sum() == 0


def test_marks_of_pictures_without_a_class(support):
    (support / "images" / "unlabelled").mkdir()
    shutil.copy(support / "images" / "apple" / "0.png", support / "images" / "unlabelled" / "u.png")
    (support / "marks" / "unlabelled").mkdir(parents=True)
    marks = support / "marks" / "unlabelled" / "u.json"
    marks.write_text('{"points": [{"x": 9, "y": 9, "class": "apple"}]}')
    with pytest.raises(DataError, match=r"unlabelled/u\.png: pictures of images/unlabelled have no class, got marks"):
        read_support_folder(support)
    marks.rename(support / "marks" / "u.json")
    with pytest.raises(DataError, match=r"u\.json: no picture of this name"):
        read_support_folder(support)


def test_too_many_class_folders(tmp_path):
    for k in range(300):
        (tmp_path / "images" / f"c{k:03}").mkdir(parents=True)
    (tmp_path / "marks").mkdir()
    with pytest.raises(DataError, match=r"images: got 300 classes, expected at most 253"):
        read_support_folder(tmp_path)


def test_masks_or_marks_in_any_mixture(marked_supports, support, tmp_path):
    root = marked_supports("points", False)
    (root / "masks").mkdir()  # and nothing in it
    assert len(read_support_folder(root).supports) == 2
    shutil.copytree(support / "images" / "apple", support / "images" / "bread")
    (support / "marks" / "bread").mkdir(parents=True)
    (support / "marks" / "bread" / "1.json").write_text('{"points": [{"x": 9, "y": 9, "class": "bread"}]}')
    found = read_support_folder(support)
    assert [sorted(np.unique(s.label)) for s in found.supports] == [[0, 1], [0, 1], [2, 254]]


def test_nothing_labelled_names_the_folder(marked_supports):
    root = marked_supports("points", False)
    for k in range(2):
        (root / "marks" / f"{k}.json").write_text('{"points": [{"x": 9, "y": 9, "class": "background"}]}')
    with pytest.raises(DataError, match=r"marked: none of the 2 labelled pictures shows a class; expected class ids"):
        read_support_folder(root)
    for k in range(2):
        (root / "marks" / f"{k}.json").unlink()
    with pytest.raises(DataError, match=r"marked: no picture has a mask or marks, expected masks/\* or marks/\*\.json"):
        read_support_folder(root)


def test_pictures_of_one_name_are_refused(marked_supports):
    root = marked_supports("points", False)
    Image.open(root / "images" / "0.png").convert("RGB").save(root / "images" / "0.jpg")
    with pytest.raises(DataError, match=r"images/0\.png: a second picture named 0, expected one mask a name"):
        read_support_folder(root)


def test_crossing_scribbles_of_scribblesup_are_supports(marked_supports):
    root = marked_supports("points", False)
    lines = {"apple": "<point><X>9</X><Y>1</Y></point><point><X>9</X><Y>30</Y></point>"}
    lines["background"] = "<point><X>1</X><Y>9</Y></point><point><X>30</X><Y>9</Y></point>"
    polygons = "".join(f"<polygon><tag>{name}</tag>{corners}</polygon>" for name, corners in lines.items())
    (root / "marks" / "0.json").unlink()
    (root / "marks" / "0.xml").write_text(f"<annotation>{polygons}</annotation>")
    assert set(np.unique(read_support_folder(root).supports[0].label)) == {0, 1, 254}


def test_a_picture_of_marks_may_not_contradict_the_mask(marked_supports):
    root = marked_supports("", False, ".png")
    (root / "masks").mkdir()
    mask = np.full((48, 64), 254, np.uint8)
    mask[0, 0] = 1 - np.asarray(Image.open(root / "marks" / "0.png"))[0, 0]
    Image.fromarray(mask).save(root / "masks" / "0.png")
    with pytest.raises(DataError, match=r"0\.png: .*pixel \(0, 0\)"):
        read_support_folder(root)
