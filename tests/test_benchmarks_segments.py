"""The benchmark of segments as nodes at its smallest."""

import importlib
import json
from pathlib import Path

import pytest

from pixgraph.data.synthetic import SyntheticShapes


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    monkeypatch.delenv("PIXGRAPH_DATA", raising=False)
    generated = SyntheticShapes("val", size=64, n_pictures=24)
    monkeypatch.setattr("pixgraph.data.catalog.open_dataset", lambda source, split: generated)
    return importlib.import_module("segment_nodes")


def test_pixels_and_segments_answer_the_same_episodes(script, tmp_path):
    small = ["--dataset", "synthetic", "--backbone", "filters", "--size", "64", "--cache", ""]
    argv = [*small, "--segments", "30", "--episodes", "2", "--seeds", "2", "--out", str(tmp_path)]
    assert script.main(argv) == 0
    found = json.loads((tmp_path / "segment_nodes.json").read_text())
    assert list(found["methods"]) == ["propagate, cells of 8 x 8 pixels", "propagate, 30 segments"]
    assert all(len(m["per_seed"]) == 2 for m in found["methods"].values())
    assert found["nodes"]["cells of 8 x 8 pixels"]["nodes"] == 64
    assert 2 <= found["nodes"]["30 segments"]["nodes"] <= 45
    text = (tmp_path / "segment_nodes.md").read_text()
    assert "| propagate, 30 segments |" in text
    assert "2 seeds of 2 episodes" in text


def test_help_shows_the_command(script, capsys):
    with pytest.raises(SystemExit, match="0"):
        script.main(["--help"])
    assert "python benchmarks/segment_nodes.py" in capsys.readouterr().out


def test_labels_from_tags_are_scored_step_by_step(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    monkeypatch.delenv("PIXGRAPH_DATA", raising=False)
    small = ["--dataset", "synthetic", "--network", "unet-small", "--weights", "random", "--short_side", "48"]
    argv = [*small, "--fit", "12", "--pictures", "3", "--out", str(tmp_path)]
    assert importlib.import_module("tag_labels").main(argv) == 0
    found = json.loads((tmp_path / "tag_labels.json").read_text())
    assert list(found["steps"]) == ["activation maps", "random walk", "refined by colours"]
    assert all(0 <= step["miou"] <= 1 for step in found["steps"].values())
    assert "| refined by colours |" in (tmp_path / "tag_labels.md").read_text()
