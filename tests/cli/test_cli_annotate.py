import json

import numpy as np
import pytest
from PIL import Image

from pixgraph.annotation_sheet import MarkedPictures
from pixgraph.cli.main import main
from pixgraph.data.annotation_sets import SavedAnnotations
from pixgraph.data.base import UNLABELLED
from pixgraph.data.semantic import open_semantic


@pytest.mark.parametrize(
    ("kind", "ending"), [("points", "json"), ("scribbles", "json"), ("boxes", "json"), ("tags", "json"), ("p5", "png")]
)
def test_annotations_of_a_folder(shared_folder, tmp_path, capsys, kind, ending):
    out = tmp_path / "marks"
    command = ["data", "annotate", "--data", f"folder:{shared_folder}", "--kind", kind, "--out", str(out)]
    assert main(command) == 0
    assert f"9 of 9 pictures of folder (train), {kind}: {out}" in capsys.readouterr().out
    assert (out / "apple" / f"0.{ending}").is_file()
    split = open_semantic(str(shared_folder), "train")
    read = SavedAnnotations(out, split)
    for i in range(len(split)):
        found, full = read.read(i), split.read_label(i)
        assert found.tags == {int(full.max())}
        if kind != "tags" and kind != "boxes":
            known = found.label < UNLABELLED
            np.testing.assert_array_equal(found.label[known], full[known])


def test_each_setting_has_its_effect(shared_folder, tmp_path):
    def marks(*options):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        assert main(["data", "annotate", str(shared_folder), "--out", str(out), *options]) == 0
        return out, json.loads((out / "apple" / "1.json").read_text())

    _, first = marks()
    assert len(first["points"]) == 10
    assert marks("--seed", "1")[1] != first
    assert len(marks("--num_points", "2")[1]["points"]) == 4
    assert {s["width"] for s in marks("--kind", "scribbles", "--width", "5")[1]["scribbles"]} == {5}
    out = tmp_path / "few"
    arguments = ["--out", str(out), "--num_labeled", "3", "--split", "train", "--one_box", "--kind", "boxes"]
    assert main(["data", "annotate", str(shared_folder), *arguments]) == 0
    assert json.loads((out / "annotations.json").read_text())["pictures"] == 3
    assert {p.parent.name for p in out.rglob("*/*.json")} == {"apple", "bread", "cup"}


def test_bad_input_ends_in_one_line(shared_folder, tmp_path, fails):
    annotate = ("data", "annotate")
    assert "data is missing, expected --data NAME:FOLDER" in fails(*annotate, "--out", tmp_path / "a")
    assert "out is missing, expected --out FOLDER" in fails(*annotate, shared_folder)
    assert "kind" in fails(*annotate, shared_folder, "--out", tmp_path / "a", "--kind", "lines")
    many = fails(*annotate, shared_folder, "--out", tmp_path / "a", "--num_labeled", "99")
    assert "num_labeled: got 99, expected 1 to 9, the labelled pictures of folder (train)" in many
    wide = fails(*annotate, shared_folder, "--out", tmp_path / "a", "--kind", "scribbles", "--width", "1000000")
    assert "annotation: got width 1000000, expected at most 48, the shorter side of apple/0" in wide
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    assert "exists and is not empty" in fails(*annotate, shared_folder, "--out", tmp_path / "full")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("kind", ["points", "scribbles", "boxes", "tags", "masks"])
def test_a_sheet_shows_the_marks(shared_folder, tmp_path, capsys, kind):
    sheet = tmp_path / "new" / "sheet.png"
    command = ["data", "annotate", str(shared_folder), "--kind", kind, "--num_labeled", "3"]
    assert main([*command, "--out", str(tmp_path / "marks"), "--sheet", str(sheet)]) == 0
    assert f"sheet: {sheet}" in capsys.readouterr().out
    with Image.open(sheet) as image:
        assert image.width > 3 * 190


def test_drawings_of_marks_are_thick_and_boxes_are_frames(shared_folder, tmp_path):
    split = open_semantic(str(shared_folder), "train")
    for kind in ("points", "boxes"):
        assert main(["data", "annotate", str(shared_folder), "--kind", kind, "--out", str(tmp_path / kind)]) == 0
    points = MarkedPictures(SavedAnnotations(tmp_path / "points", split))
    drawn, label = points.read_mask(0), SavedAnnotations(tmp_path / "points", split).read(0).label
    assert (drawn[label == 1] == 2).all()
    assert (drawn[label == 0] == 253).all()
    assert (drawn < UNLABELLED).sum() > (label < UNLABELLED).sum()
    frame = MarkedPictures(SavedAnnotations(tmp_path / "boxes", split)).read_mask(0) == 2
    full = split.read_label(0) == 1
    assert frame.sum() == 4 * 23  # the border of a square of 24 pixels
    assert full[frame].all()


def masks_of(folder, value):
    for path in (folder / "masks").rglob("*.png"):
        Image.fromarray(np.full((48, 64), value, np.uint8)).save(path)
    (folder / "classes.json").write_text('["background", "thing"]')


def test_masks_with_nothing_to_annotate_are_refused(folder, tmp_path, fails):
    masks_of(folder, 255)
    words = fails("data", "annotate", folder, "--split", "all", "--out", tmp_path / "marks")
    assert "folder (all): got 15 masks without a pixel of any class, expected something to annotate" in words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["things"]


def test_a_sheet_that_cannot_be_written_is_told_before_anything_is(folder, tmp_path, fails):
    marks, file = tmp_path / "marks", tmp_path / "file"
    file.write_text("")
    command = ("data", "annotate", folder, "--out", marks, "--sheet")
    assert f"sheet: got the folder {tmp_path}, expected a PNG file to write" in fails(*command, tmp_path)
    assert f"sheet: got the folder {marks}, expected a PNG file" in fails(*command, marks)
    assert f"but {file} is no folder; choose another place" in fails(*command, file / "deep" / "sheet.png")
    assert not marks.exists()


def test_annotations_are_taken_back_where_the_sheet_fails(folder, tmp_path, fails):
    path = folder / "images" / "apple" / "0.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    command = ["data", "annotate", folder, "--out", tmp_path / "marks", "--sheet", tmp_path / "new" / "sheet.png"]
    assert "apple/0.png: broken or truncated picture" in fails(*command)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["things"]
    path.write_bytes(whole)
    assert main([str(word) for word in command]) == 0
