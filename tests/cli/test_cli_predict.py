import errno
import json
import os
import resource
import shutil

import numpy as np
import pytest
from PIL import Image

from pixgraph.cli.main import main
from pixgraph.data.images import palette
from pixgraph.prediction import output_names

FAST = ["--method", "prototype", "--backbone.size", "64", "--device", "cpu"]


def predict(support, query, out, *more):
    return main(["predict", "--support", str(support), "--query", str(query), "--out", str(out), *FAST, *more])


def test_masks_have_the_size_of_their_pictures(support, query, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert predict(support, query, out) == 0
    assert "3 of 3 pictures segmented" in capsys.readouterr().out
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == [
        "masks/a.png",
        "masks/b c.png",
        "masks/more/ä.png",
        "predictions.json",
    ]
    for name, size in {"a.png": (64, 48), "b c.png": (50, 70), "more/ä.png": (64, 48)}.items():
        with Image.open(out / "masks" / name) as mask:
            assert (mask.size, mask.mode) == (size, "P")
            assert mask.getpalette()[:6] == palette()[:2].ravel().tolist()
            assert set(np.unique(np.asarray(mask))) == {0, 1}


def test_predictions_json_tells_what_was_found(support, query, tmp_path):
    predict(support, query, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert (found["method"], found["backbone"], found["supports"], found["failed"]) == ("prototype", "filters", 2, 0)
    assert found["classes"] == {"1": "apple"}
    assert [p["file"] for p in found["pictures"]] == ["a.png", "b c.jpg", "more/ä.png"]
    for picture in found["pictures"]:
        mask = np.asarray(Image.open(tmp_path / "out" / picture["mask"]))
        assert picture["size"] == list(mask.shape)
        assert picture["classes"] == {"background": int((mask == 0).sum()), "apple": int((mask == 1).sum())}
        assert picture["seconds"] > 0


def test_the_object_is_found(support, query, tmp_path):
    predict(support, query, tmp_path / "out")
    red = np.asarray(Image.open(query / "a.png"))[:, :, 0] > 200
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "a.png")) == 1
    assert (red & mask).sum() / (red | mask).sum() > 0.5


def test_probabilities_and_overlays_on_request(support, query, tmp_path):
    out = tmp_path / "out"
    assert predict(support, query, out, "--probabilities", "--overlay") == 0
    values = np.load(out / "probabilities" / "b c.npy")
    assert (values.shape, values.dtype) == ((2, 70, 50), np.float16)
    np.testing.assert_allclose(values.astype(np.float32).sum(0), 1, atol=2e-3)
    mask = np.asarray(Image.open(out / "masks" / "b c.png"))
    assert (values.argmax(0) == mask).mean() > 0.99  # half precision may tie
    with Image.open(out / "overlays" / "b c.jpg") as picture:
        assert picture.size == (50, 70)


def test_overlays_of_an_earlier_prediction_do_not_stay_beside_new_masks(support, query, tmp_path):
    overlays = tmp_path / "overlays"
    overlays.mkdir()
    (overlays / "a.jpg").write_text("mine")
    assert predict(support, query, tmp_path) == 0
    assert (overlays / "a.jpg").read_text() == "mine"  # nothing says that a prediction wrote it
    assert predict(support, query, tmp_path, "--overlay") == 0
    (overlays / "other.jpg").write_text("mine")
    assert predict(support, query, tmp_path) == 0
    assert [p.name for p in overlays.rglob("*.jpg")] == ["other.jpg"]


def test_predicting_twice_gives_the_same_files(support, query, tmp_path):
    for name in ("one", "two"):
        predict(support, query, tmp_path / name)
    one, two = ((tmp_path / name / "masks" / "a.png").read_bytes() for name in ("one", "two"))
    assert one == two


def test_bad_pictures_are_skipped_and_named(support, query, tmp_path, capsys):
    (query / "bad.jpg").write_bytes(b"nonsense")
    (query / "empty.png").write_bytes(b"")
    (query / "notes.txt").write_text("not a picture, and not taken for one")
    (query / "dangling.png").symlink_to(query / "nowhere.png")
    good = (query / "b c.jpg").read_bytes()
    (query / "torn.jpg").write_bytes(good[: len(good) // 2])
    assert predict(support, query, tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "3 of 7 pictures segmented" in said.out
    skipped = [line for line in said.err.splitlines() if line.startswith("pixgraph: skipped ")]
    assert len(skipped) == 4
    for words in ("bad.jpg: not a picture", "empty.png: the file is empty", "torn.jpg: broken or truncated"):
        assert sum(words in line for line in skipped) == 1
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert found["failed"] == 4
    failed = [p for p in found["pictures"] if "error" in p]
    assert [set(p) for p in failed] == [{"file", "error"}] * 4
    assert len(list((tmp_path / "out" / "masks").rglob("*.png"))) == 3


def test_one_picture_may_be_the_query(support, query, tmp_path):
    assert predict(support, query / "a.png", tmp_path / "out") == 0
    assert (tmp_path / "out" / "masks" / "a.png").is_file()


def test_earlier_output_below_the_query_is_not_segmented(support, query):
    assert predict(support, query, query / "out") == 0
    assert predict(support, query, query / "out") == 0
    assert len(json.loads((query / "out" / "predictions.json").read_text())["pictures"]) == 3


def test_class_indices_with_names(tmp_path, query):
    root = tmp_path / "indexed"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    rgb, mask = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), np.uint8)
    for number, (colour, rows) in enumerate((((220, 40, 40), slice(0, 15)), ((40, 60, 220), slice(25, 40))), start=3):
        rgb[rows], mask[rows] = colour, number
    Image.fromarray(rgb).save(root / "images" / "x.png")
    Image.fromarray(mask).save(root / "masks" / "x.png")
    (root / "classes.json").write_text(json.dumps({"0": "background", "3": "apple", "4": "cup"}))
    assert predict(root, query, tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert list(found["classes"].values()) == ["apple", "cup"]
    assert found["pictures"][0]["classes"]["apple"] > 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "--support: missing; expected --support DIR --query DIR --out DIR"),
        (["--support", "s"], "--query: missing"),
        (["--support", "s", "--query", "q"], "--out: missing"),
        (["--support", "nowhere", "--query", "q", "--out", "o"], "q: no such file or folder"),
        (["--support", "s", "--checkpoint", "nowhere"], "nowhere: does not exist; expected the folder of a run"),
    ],
)
def test_missing_arguments(fails, argv, words):
    assert words in fails("predict", *argv)


def test_wrong_arguments(fails, support, query, tmp_path):
    args = ["predict", "--support", support, "--out", tmp_path / "out", "--query"]
    assert "nowhere: no such file or folder; expected a picture or a folder" in fails(*args, "nowhere")
    assert "no folder nowhere" in fails("predict", "--support", "nowhere", "--query", query, "--out", tmp_path)
    assert "method: got 'magic', expected one of graph, propagate" in fails(*args, query, "--method", "magic")
    assert "method 'graph' needs a trained run" in fails(*args, query, "--method", "graph")
    assert "backbone.name 'alexnet' is unknown" in fails(*args, query, "--backbone.name", "alexnet")
    (tmp_path / "empty").mkdir()
    assert "no picture in this folder; expected files that end in .bmp" in fails(*args, tmp_path / "empty")
    masks = ["predict", "--support", support, "--query", query, "--out", query.parent]
    query.rename(query.parent / "masks")
    masks[4] = query.parent / "masks"
    assert "its masks would replace the pictures" in fails(*masks)


def test_supports_must_be_whole(fails, support, query, tmp_path):
    args = ["predict", "--support", support, "--query", query, "--out", tmp_path / "out", *FAST]
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(support / "masks" / "apple" / "0.png")
    assert "apple/0.png: got" in fails(*args)
    for k in range(2):
        Image.fromarray(np.zeros((48, 64), np.uint8)).save(support / "masks" / "apple" / f"{k}.png")
    assert "support: none of the 2 labelled pictures shows a class" in fails(*args)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_in_one_line_and_keeps_what_is_whole(monkeypatch, fails, support, query, tmp_path):
    import pixgraph.prediction as module

    whole = module.write_palette_mask

    def fill(path, mask):
        if path.name == "b c.png":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        whole(path, mask)

    monkeypatch.setattr(module, "write_palette_mask", fill)
    out = tmp_path / "out"
    line = fails("predict", "--support", support, "--query", query, "--out", out, *FAST)
    assert line.endswith("b c.png: No space left on device; free some space")
    found = json.loads((out / "predictions.json").read_text())
    assert [p["file"] for p in found["pictures"]] == ["a.png"]
    assert [p.name for p in (out / "masks").iterdir()] == ["a.png"]


def test_after_an_interruption_the_same_command_goes_through(monkeypatch, support, query, tmp_path):
    import pixgraph.prediction as module

    whole = module.write_palette_mask

    def interrupt(path, mask):
        if path.name == "b c.png":
            raise KeyboardInterrupt
        whole(path, mask)

    shutil.copytree(query, tmp_path / "images")  # beside them masks of unknown origin would not be replaced
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_palette_mask", interrupt)
        assert predict(support, tmp_path / "images", tmp_path) == 130
    assert predict(support, tmp_path / "images", tmp_path) == 0
    assert len(json.loads((tmp_path / "predictions.json").read_text())["pictures"]) == 3


def test_files_that_cannot_grow_leave_nothing_half_written(fails, support, query, tmp_path):
    out = tmp_path / "out"
    args = ["predict", "--support", support, "--query", query, "--out", out, *FAST, "--probabilities"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))  # a mask fits, probabilities do not
    try:
        line = fails(*args)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in line
    left = {p.name for p in out.rglob("*") if p.is_file()}
    assert left == {"predictions.json"}


def test_large_pictures_in_tiles(support, tmp_path, capsys):
    rgb = np.random.default_rng(0).integers(0, 90, (90, 131, 3), dtype=np.uint8)
    rgb[30:54, 70:94] = 220, 40, 40
    truth = rgb[:, :, 0] == 220
    Image.fromarray(rgb).save(tmp_path / "large.png")
    out = tmp_path / "out"
    tiles = ["--tile", "64", "--overlap", "16", "--probabilities", "--overlay"]
    assert predict(support, tmp_path / "large.png", out, *tiles) == 0
    mask = np.asarray(Image.open(out / "masks" / "large.png"))
    values = np.load(out / "probabilities" / "large.npy").astype(np.float32)
    assert values.shape == (2, 90, 131)
    np.testing.assert_allclose(values.sum(0), 1, atol=2e-3)
    assert (values.argmax(0) == mask).mean() > 0.99  # half precision may tie
    assert (mask & truth).sum() / (mask | truth).sum() > 0.4
    found = json.loads((out / "predictions.json").read_text())
    assert (found["tile"], found["overlap"], found["tile_supports"]) == (64, 16, "scaled")
    assert found["pictures"][0]["classes"]["apple"] == int((mask == 1).sum())


def test_a_tile_larger_than_the_pictures_changes_nothing(support, query, tmp_path):
    for name, more in (("one", []), ("two", ["--tile", "70"])):
        predict(support, query, tmp_path / name, *more, "--probabilities")
    for name in ("masks/b c.png", "probabilities/b c.npy"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_wrong_tiles(fails, support, query, tmp_path):
    args = ["predict", "--support", support, "--query", query, "--out", tmp_path / "out", *FAST]
    assert "overlap: got 64 with tile 64, expected 0 to 63" in fails(*args, "--tile", "64", "--overlap", "64")
    assert "overlap: got 8 without a tile, expected both" in fails(*args, "--overlap", "8")
    assert "tile: got 8, expected 32 pixels or more" in fails(*args, "--tile", "8")
    assert "tile: got 'big', expected a whole number or null" in fails(*args, "--tile", "big")
    words = fails(*args, "--tile", "64", "--tile_supports", "half")
    assert "tile_supports: got 'half', expected one of scaled, whole" in words
    assert not (tmp_path / "out").exists()


def test_output_names_differ(tmp_path):
    from pathlib import Path

    assert output_names([Path("A.jpg"), Path("a.png"), Path("b.png")]) == ["A.jpg", "a.png", "b"]
    names = ["a.jpg", "a.png", "a.png.jpg", "b.png.jpg"]
    assert output_names([Path(name) for name in names]) == [*names[:3], "b.png"]


def bytes_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_files_of_a_data_set_are_not_replaced(fails, support, query, tmp_path):
    for k in range(2):
        for part in ("images", "masks"):
            (support / part / "apple" / f"{k}.png").rename(support / part / f"{k}.png")
    for path in (support / "masks").glob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 255).save(path)
    (support / "classes.json").write_text('["background", "apple"]')
    before = bytes_below(support)
    for source in (support / "images", query):
        for out in (support, support / "images" / "more", support / "masks"):
            words = fails("predict", "--support", support, "--query", source, "--out", out, *FAST)
            assert "its masks would be among the labelled pictures of" in words
    other = tmp_path / "other"
    shutil.copytree(support, other)
    words = fails("predict", "--support", support, "--query", query, "--out", other, *FAST)
    assert "other: holds images and masks, which would be replaced, expected a new folder" in words
    assert bytes_below(support) == before


def test_the_query_is_not_replaced(fails, support, query, tmp_path):
    args = ["predict", "--support", support, *FAST, "--query"]
    out = tmp_path / "o"
    for kind, name in (("masks", "a.png"), ("overlays", "b c.jpg")):
        (out / kind).mkdir(parents=True)
        shutil.copy(query / name, out / kind)
        words = fails(*args, out / kind / name, "--out", out, "--overlay")
        assert f"its masks would replace the pictures of {out / kind / name}; choose another folder" in words
        assert (out / kind / name).read_bytes() == (query / name).read_bytes()
    (tmp_path / "link.png").symlink_to(out / "masks" / "a.png")
    assert "would replace the pictures" in fails(*args, tmp_path / "link.png", "--out", out)
    assert "got the folder of the pictures, expected another" in fails(*args, query, "--out", query)
    assert "got the folder of the pictures" in fails(*args, query, "--out", query / "more" / "..")


def test_a_query_folder_that_cannot_be_read_is_named(monkeypatch, fails, support, query, tmp_path):
    look = os.scandir

    def locked(folder):
        if str(folder).endswith("more"):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return look(folder)

    monkeypatch.setattr(os, "scandir", locked)
    words = fails("predict", "--support", support, "--query", query, "--out", tmp_path / "out", *FAST)
    assert "query/more: cannot look into this folder (Permission denied)" in words


@pytest.mark.parametrize("more", [[], ["--probabilities"]])
def test_a_graph_that_cannot_be_made_leaves_no_folder(fails, support, query, tmp_path, more):
    args = ["predict", "--support", support, "--query", query, "--out", tmp_path / "out", "--device", "cpu", *more]
    assert "knn_level" in fails(*args, "--backbone.size", "64", "--graph.dilations", "[1]", "--graph.knn_level", "99")
    assert not (tmp_path / "out").exists()


def test_a_name_with_a_line_break_takes_one_line(support, query, tmp_path, capsys):
    (query / "two\nlines.png").write_bytes(b"nonsense")
    assert predict(support, query, tmp_path / "out") == 1
    assert "skipped" in capsys.readouterr().err.splitlines()[-1]


def test_a_mirrored_prediction_says_so(support, query, tmp_path):
    for name, more in (("plain", []), ("mirrored", ["--mirror", "true"])):
        assert predict(support, query, tmp_path / name, "--method", "propagate", "--probabilities", *more) == 0
    plain, mirrored = (json.loads((tmp_path / n / "predictions.json").read_text()) for n in ("plain", "mirrored"))
    assert "mirror" not in plain
    assert mirrored["mirror"] is True
    one, two = (np.load(tmp_path / n / "probabilities" / "a.npy").astype(np.float32) for n in ("plain", "mirrored"))
    assert 0 < np.abs(one - two).max() < 0.5
