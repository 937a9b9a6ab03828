"""The benchmark of few labels at its smallest."""

import importlib
import json
from pathlib import Path

import pytest
from tiny_reco import write_camvid

from pixgraph.errors import ConfigError, RunError

TINY = ["--network", "unet-small", "--weights", "random", "--embedding", "8", "--views.size", "32", "--device", "cpu"]
TINY += ["--iterations", "2", "--batch-size", "2", "--reco-num-queries", "8", "--reco-num-negatives", "8"]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))
    return importlib.import_module("reco_camvid")


def test_help_shows_the_command(script, capsys):
    with pytest.raises(SystemExit, match="0"):
        script.main(["--help"])
    assert "python benchmarks/reco_camvid.py" in capsys.readouterr().out


def test_runs_are_trained_once_and_tabulated(script, tmp_path):
    write_camvid(tmp_path / "camvid")
    places = ["--data", str(tmp_path), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    some = [*places, "--labels", "3", "p25", "--methods", "supervised", "classmix+reco", "--split", "test"]
    assert script.main([*some, "--methods", "supervised", "--seeds", "1", "--", *TINY]) == 0
    first = (tmp_path / "runs" / "3-supervised-1" / "metrics.jsonl").read_text()
    assert script.main([*some, "--seeds", "1", "--", *TINY]) == 0
    assert (tmp_path / "runs" / "3-supervised-1" / "metrics.jsonl").read_text() == first
    found = json.loads((tmp_path / "reco_camvid.json").read_text())
    assert len(found["runs"]) == 2 * 2
    one = found["runs"]["p25-classmix+reco-1"]
    assert (one["labels"], one["method"], one["seed"], one["steps"], one["pictures"]) == (
        "p25",
        "classmix+reco",
        1,
        2,
        3,
    )
    config = (tmp_path / "runs" / "p25-classmix+reco-1" / "config.yaml").read_text()
    assert "ratio: p25" in config
    assert "num_labeled: null" in config
    text = (tmp_path / "reco_camvid.md").read_text()
    assert "| 3 pictures, supervised |" in text
    assert "| p25 of all pictures, classmix+reco |" in text
    assert "| bicyclist |" in text
    assert "official test split" in text
    with pytest.raises(RunError, match=r"3-supervised-1 was made with another configuration: optim.lr"):
        script.main([*some, "--seeds", "1", "--", *TINY, "--lr", "0.5"])


def test_without_data_or_runs(script, tmp_path, monkeypatch):
    monkeypatch.delenv("PIXGRAPH_DATA", raising=False)
    with pytest.raises(ConfigError, match="got no --data and no PIXGRAPH_DATA"):
        script.main(["--runs", str(tmp_path)])
    with pytest.raises(ConfigError, match="got no finished run"):
        script.main(["--runs", str(tmp_path), "--seeds"])
