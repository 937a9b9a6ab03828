import json

import numpy as np
import pytest
from PIL import Image

from pixgraph.cli.main import main
from pixgraph.demo import MARKER, PHOTO, clear_folder, demo_config
from pixgraph.demo_photo import COINS, MARKED, PhotoResult, marked_photo, photo_tiles, segment_photo, write_photo
from pixgraph.errors import RunError
from pixgraph.segmenter import FewShotSegmenter


def test_marks_lie_where_they_claim():
    rgb, marks = marked_photo()
    assert rgb.shape == (303, 384, 3)
    assert marks.shape == (303, 384)
    assert set(np.unique(marks)) == {0, 1, 255}
    assert (marks != 255).mean() < 0.08
    coins = PhotoResult(rgb, marks, (marks == 1).astype(np.uint8))
    assert coins.found == len(MARKED)
    assert coins.stray == 0
    # Coins are brighter than what lies between them.
    assert rgb[marks == 1].mean() > rgb[marks == 0].mean() + 30


def test_the_answer_counts_coins():
    rgb, marks = marked_photo()
    everything = PhotoResult(rgb, marks, np.ones_like(marks))
    assert (everything.found, everything.stray) == (len(COINS), 1.0)
    nothing = PhotoResult(rgb, marks, np.zeros_like(marks))
    assert (nothing.found, nothing.stray) == (0, 0.0)


def test_three_marked_coins_find_the_others(tmp_path):
    result = segment_photo(FewShotSegmenter("prototype", size=256, device="cpu"))
    assert result.found >= 20
    assert result.stray < 0.2
    tiles = photo_tiles({"prototype": result})
    assert tiles[1].caption == f"prototype: {result.found} of 24 coins"
    write_photo(tiles, tmp_path / "photo.png")
    with Image.open(tmp_path / "photo.png") as picture:
        assert picture.size[0] > 600


def test_an_earlier_demo_makes_room_and_nothing_else_does(tmp_path):
    config = demo_config(3, runs=str(tmp_path), run="demo")
    folder = clear_folder(config)
    (folder / "old.txt").touch()
    assert [p.name for p in clear_folder(config).iterdir()] == [MARKER]
    (folder / MARKER).unlink()
    (folder / "precious.txt").touch()
    with pytest.raises(RunError, match="exists and was not made by the demo; give another folder with --out"):
        clear_folder(config)
    assert (folder / "precious.txt").exists()


@pytest.mark.slow
def test_the_whole_demo(tmp_path, capsys):
    out = tmp_path / "demo"
    argv = ["demo", "--steps", "3", "--episodes", "2", "--seeds", "1", "--device", "cpu", "--out", str(out)]
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert f"look at {out / 'index.html'} and {out / PHOTO}" in said
    assert "trained GNN: " in said
    page = (out / "index.html").read_text()
    assert "<h2>A real photograph</h2>" in page
    assert page.count(">errors:<") == 1  # the legend of the episodes; the photograph has no truth
    summary = json.loads((out / "summary.json").read_text())
    assert summary["evaluation"]["split"] == "test"
    assert main(argv) == 0
