"""The benchmark of weak marks at its smallest."""

import importlib
import json

import pytest
from PIL import Image
from test_benchmarks import SMALL, scripts  # noqa: F401 - a fixture

from pixgraph.errors import DataError


def test_it_measures_goes_on_and_draws(tmp_path, capsys):
    weak_marks = importlib.import_module("weak_marks")
    common = [*SMALL, "--split", "test", "--episodes", "2", "--seeds", "2", "--out", str(tmp_path), "--cache", ""]
    assert weak_marks.main([*common, "--kinds", "points", "--pictures", "1"]) == 0
    first = json.loads((tmp_path / "weak_marks.json").read_text())["kinds"]
    assert weak_marks.main([*common, "--kinds", "scribbles", "--pictures", "0"]) == 0
    kinds = json.loads((tmp_path / "weak_marks.json").read_text())["kinds"]
    assert list(kinds) == ["masks", "points", "scribbles"]
    assert {kind: kinds[kind] for kind in first} == first
    hashes = [found["episode_hash"] for found in kinds.values()]
    assert all(found == hashes[0] for found in hashes)
    assert all(len(found["methods"]["propagate"]["per_seed"]) == 2 for found in kinds.values())
    text = (tmp_path / "weak_marks.md").read_text()
    assert "| 5 + 5 points |" in text
    assert "of masks' %" in text
    with Image.open(tmp_path / "weak_marks.png") as picture:
        assert picture.width > 5 * 150
    with pytest.raises(DataError, match=r"was made with .* give another --name"):
        weak_marks.main([*common, "--num_points", "3"])
    (tmp_path / "weak_marks.json").write_text("{")
    with pytest.raises(DataError, match="cannot read it"):
        weak_marks.main(common)
    capsys.readouterr()


def test_a_run_that_was_trained_anew_is_scored_anew(tmp_path):
    weak_marks = importlib.import_module("weak_marks")
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pt").write_bytes(b"weights")
    before = weak_marks._digest(str(run))
    (run / "last.pt").write_bytes(b"other weights")
    now = weak_marks._digest(str(run))
    assert before != now
    path = tmp_path / "weak_marks.json"
    methods = {"graph (run)": {"weights": before}, "graph (other)": {"weights": before}, "propagate": {"weights": None}}
    path.write_text(json.dumps({"settings": {}, "kinds": {"masks": {"methods": methods}}}))
    kept = weak_marks._done(path, {}, {"graph (run)": now, "graph (other)": before})
    assert list(kept["masks"]["methods"]) == ["graph (other)", "propagate"]
    assert list(weak_marks._done(path, {}, {})["masks"]["methods"]) == list(methods)
