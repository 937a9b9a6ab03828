import numpy as np
import pytest
from PIL import Image

from pixgraph.cli.main import main
from pixgraph.data.catalog import dataset_names


def test_list_describes_every_data_set(capsys):
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == dataset_names()
    assert all(len(line.split()) > 2 for line in lines)


def test_check_counts_the_classes(shared_folder, capsys):
    assert main(["data", "check", str(shared_folder)]) == 0
    text = capsys.readouterr().out
    assert "15 pictures, 0 without mask, 0 broken" in text
    assert text.count(" 3 pictures") == 5
    assert f"{3 * 24 * 24} pixels" in text


def test_check_reports_every_broken_file(folder, capsys):
    (folder / "images" / "apple" / "0.png").write_bytes(b"not a picture")
    (folder / "images" / "bread" / "1.png").write_bytes(b"")
    good = (folder / "masks" / "cup" / "2.png").read_bytes()
    (folder / "masks" / "cup" / "2.png").write_bytes(good[: len(good) // 2])
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "masks" / "dish" / "0.png")
    (folder / "masks" / "egg" / "0.png").unlink()
    assert main(["data", "check", str(folder)]) == 1
    text = capsys.readouterr().out
    assert "15 pictures, 1 without mask, 4 broken" in text
    broken = [line for line in text.splitlines() if line.startswith("broken: ")]
    for words in ("apple/0.png: not a picture", "bread/1.png: the file is empty", "cup/2.png", "dish/0.png"):
        assert sum(words in line for line in broken) == 1


def test_check_names_classes_that_are_too_small(folder, capsys):
    for k in (1, 2):
        (folder / "images" / "egg" / f"{k}.png").unlink()
        (folder / "masks" / "egg" / f"{k}.png").unlink()
    assert main(["data", "check", str(folder)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if " egg " in line)
    assert "too few for an episode" in line


def test_check_takes_splits_and_other_data_sets(shared_folder, capsys):
    assert main(["data", "check", "--root", str(shared_folder), "--split", "test"]) == 0
    text = capsys.readouterr().out
    assert "egg" in text
    assert "apple" not in text


def test_show_writes_a_sheet(shared_folder, tmp_path, capsys):
    target = tmp_path / "new" / "sheet.png"
    assert main(["data", "show", str(shared_folder), "--out", str(target), "--pictures", "8"]) == 0
    assert f"8 of 15 pictures: {target}" in capsys.readouterr().out
    with Image.open(target) as sheet:
        assert sheet.size == (6 * 196, 2 * 224)
    first = target.read_bytes()
    main(["data", "show", str(shared_folder), "--out", str(target), "--pictures", "8"])
    assert target.read_bytes() == first


def test_show_marks_pictures_without_mask(folder, tmp_path):
    (folder / "masks" / "egg" / "0.png").unlink()
    assert main(["data", "show", str(folder), "--out", str(tmp_path / "s.png"), "--pictures", "99"]) == 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["chek"], "unknown action 'chek'; expected one of list, check, show"),
        (["list", "--foo"], "data list: got '--foo', expected nothing behind it; leave it out"),
        (["check"], "data.root: got nothing, expected the folder of folder"),
        (["check", "nowhere"], "no folder nowhere; expected images/<class>/*"),
        (["check", "nowhere", "--name", "pascal"], "data.name: got 'pascal', expected one of synthetic, folder"),
        (
            ["check", "nowhere", "--split", "tests"],
            "--split: got 'tests', expected one of train, val",
        ),
        (["show", "nowhere", "--pictures", "0"], "pictures: got 0, expected a whole number >= 1"),
    ],
)
def test_wrong_arguments(fails, argv, words):
    assert words in fails("data", *argv)


def test_an_empty_folder_says_what_belongs_there(fails, tmp_path):
    assert "expected images/<class>/*" in fails("data", "check", tmp_path)


@pytest.mark.parametrize("out", [".", "", "sheets"])
def test_a_sheet_is_a_file(fails, shared_folder, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sheets").mkdir()
    assert f"--out {out!r}: got a folder, expected the PNG to write" in fails(
        "data", "show", shared_folder, "--out", out
    )
