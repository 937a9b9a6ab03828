import json
import warnings

import numpy as np
import pytest
from fake_own import MemoryDataset, fake_index_folder
from fakes import fake_camvid, fake_voc, picture

from pixgraph.data.annotation_sets import INDEX, SavedAnnotations, picture_shape, write_annotations
from pixgraph.data.annotations import make_annotation
from pixgraph.data.semantic import SemanticSplit, open_semantic
from pixgraph.data.subset import Subset
from pixgraph.errors import ConfigError, DataError


def save(folder, split, kind, seed=0, indices=None):
    made = (
        (i, make_annotation(split.read_label(i), kind, seed, split.keys[i], background=split.background))
        for i in (range(len(split)) if indices is None else indices)
    )
    return write_annotations(folder, split, made, {"kind": kind, "seed": seed})


@pytest.mark.parametrize("kind", ["points", "scribbles", "boxes", "tags", "masks"])
@pytest.mark.parametrize("name", ["camvid", "voc"])
def test_annotations_come_back_in_the_split_s_numbers(tmp_path, kind, name):
    fake = {"camvid": fake_camvid, "voc": fake_voc}[name](tmp_path / "data")
    split = open_semantic(f"{name}:{fake}", "val")
    assert save(tmp_path / "marks", split, kind) == len(split)
    read = SavedAnnotations(tmp_path / "marks", split)
    assert len(read) == len(split)
    for i in range(len(split)):
        expected = make_annotation(split.read_label(i), kind, 0, split.keys[i], background=split.background)
        found = read.read(i)
        assert (found.tags, found.boxes, found.points) == (expected.tags, expected.boxes, expected.points)
        np.testing.assert_equal(found.label, expected.label)
    content = json.loads((tmp_path / "marks" / INDEX).read_text())
    assert (content["kind"], content["hash"], content["pictures"]) == (kind, read.hash, len(split))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "marks"]


def test_the_hash_is_of_the_marks(tmp_path):
    split = open_semantic(f"camvid:{fake_camvid(tmp_path / 'data')}", "train")
    hashes = []
    for number, seed in enumerate((0, 0, 1)):
        save(tmp_path / str(number), split, "points", seed)
        hashes.append(SavedAnnotations(tmp_path / str(number), split).hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_some_pictures_may_have_none(tmp_path):
    split = open_semantic(f"voc:{fake_voc(tmp_path / 'data')}", "train")
    save(tmp_path / "marks", split, "points", indices=[1, 3])
    read = SavedAnnotations(tmp_path / "marks", split)
    assert [i for i in range(len(split)) if i in read] == [1, 3]
    assert repr(read).endswith("pictures=2 of 5)")
    with pytest.raises(DataError, match=rf"no annotation of {split.keys[0]}; add one"):
        read.read(0)


def test_marks_by_hand_need_no_index(tmp_path):
    split = open_semantic(str(fake_index_folder(tmp_path / "data")), "all")
    marks = tmp_path / "marks"
    marks.mkdir()
    (marks / "p1.json").write_text('{"points": [{"x": 3, "y": 4, "class": "cat"}]}')
    polygon = "<polygon><tag>dog</tag><point><X>3</X><Y>4</Y></point></polygon>"
    (marks / "p2.xml").write_text(f"<annotation>{polygon}</annotation>")
    read = SavedAnnotations(marks, split)
    assert (read.read(0).tags, read.read(1).tags) == ({1}, {2})


def test_folders_that_do_not_fit(tmp_path):
    split = open_semantic(f"camvid:{fake_camvid(tmp_path / 'data')}", "train")
    with pytest.raises(DataError, match=r"annotations: no folder .*absent"):
        SavedAnnotations(tmp_path / "absent", split)
    save(tmp_path / "marks", split, "points")
    other = open_semantic(f"camvid:{tmp_path / 'data'}", "val")
    with pytest.raises(DataError, match=r"none of 2 files is called like a picture of camvid \(val\)"):
        SavedAnnotations(tmp_path / "marks", other)
    index = tmp_path / "marks" / INDEX
    content = json.loads(index.read_text())
    index.write_text(json.dumps({**content, "dataset": "cityscapes"}))
    with pytest.raises(DataError, match=r"made for cityscapes \(train\), got camvid \(train\)"):
        SavedAnnotations(tmp_path / "marks", split)
    index.write_text(json.dumps({**content, "format": "x"}))
    with pytest.raises(DataError, match=r"got format 'x'"):
        SavedAnnotations(tmp_path / "marks", split)
    index.write_text("{")
    with pytest.raises(DataError, match=r"annotations.json: cannot read it"):
        SavedAnnotations(tmp_path / "marks", split)


def test_nothing_is_half_written_or_overwritten(tmp_path):
    split = open_semantic(f"camvid:{fake_camvid(tmp_path / 'data')}", "train")

    def broken():
        yield 0, make_annotation(split.read_label(0), "points", background=None)
        raise DataError("the second mask is broken")

    with pytest.raises(DataError, match=r"the second mask is broken"):
        write_annotations(tmp_path / "marks", split, broken(), {})
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    (tmp_path / "marks").mkdir()
    save(tmp_path / "marks", split, "tags")
    with pytest.raises(ConfigError, match=r"out: .*marks exists and is not empty"):
        save(tmp_path / "marks", split, "tags")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"exists and is not empty"):
        save(tmp_path / "file", split, "tags")


def test_shapes_of_files_and_of_generated_pictures(tmp_path):
    assert picture_shape(open_semantic("synthetic", "val").dataset, 0) == (128, 128)
    picture(tmp_path / "a.png", size=(6, 9))
    masks = MemoryDataset({"a": np.zeros((24, 32), np.uint8)}, {1: "one"})
    assert picture_shape(SemanticSplit(masks).dataset, 0) == (24, 32)


def test_two_files_for_a_picture(tmp_path):
    split = open_semantic(str(fake_index_folder(tmp_path / "data")), "all")
    (tmp_path / "marks").mkdir()
    for ending in ("json", "xml"):
        (tmp_path / "marks" / f"p1.{ending}").write_text("{}")
    with pytest.raises(DataError, match=r"p1\.xml: a second file of marks for p1, beside p1\.json; remove one"):
        SavedAnnotations(tmp_path / "marks", split)


def test_a_number_is_that_of_the_masks(tmp_path):
    split = open_semantic(str(fake_index_folder(tmp_path / "data", ["sky", "cat", "dog"])), "all")
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks" / "p1.json").write_text('{"points": [{"x": 3, "y": 4, "class": 1}]}')
    for part in (split, SemanticSplit(Subset(split.dataset, [0]))):
        found = SavedAnnotations(tmp_path / "marks", part).read(0)
        assert {part.names[c] for c in found.tags} == {"cat"}
        assert found.label[4, 3] == part.names.index("cat")


def test_the_index_is_read_with_care(tmp_path):
    split = open_semantic(f"camvid:{fake_camvid(tmp_path / 'data')}", "train")
    save(tmp_path / "marks", split, "points")
    (tmp_path / "marks" / INDEX).write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"annotations\.json: cannot read it \(nested too deeply\); annotate again"):
        SavedAnnotations(tmp_path / "marks", split)


def test_the_current_folder_is_no_new_one(tmp_path, monkeypatch):
    split = open_semantic(f"camvid:{fake_camvid(tmp_path / 'data')}", "train")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for out in (".", tmp_path / "empty"):
        with pytest.raises(ConfigError, match=r"out: got the current folder, expected a new one; name it"):
            save(out, split, "points")


def test_files_without_a_picture_are_named(tmp_path):
    split = open_semantic(str(fake_index_folder(tmp_path / "data")), "all")
    save(tmp_path / "marks", split, "points")
    part = SemanticSplit(Subset(split.dataset, [0, 2]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(SavedAnnotations(tmp_path / "marks", part).files) == [0, 1]
    (tmp_path / "marks" / "p3.json").rename(tmp_path / "marks" / "q3.json")
    with pytest.warns(
        UserWarning, match=r"marks: 1 of 4 files are called like no picture of folder \(all\).*: q3\.json;"
    ):
        SavedAnnotations(tmp_path / "marks", split)
