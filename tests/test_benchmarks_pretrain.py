"""The benchmark of pretraining at its smallest: it runs, and what cannot be measured is listed with its reason."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from pixgraph.errors import ConfigError, DependencyError, PixgraphError


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts import each other as programs do; their folder is no package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))


def script(name):
    return importlib.import_module(name)


def test_help_shows_the_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        script("speed_pretrain").main(["--help"])
    assert "python benchmarks/speed_pretrain.py" in capsys.readouterr().out


def test_a_quick_run_writes_tables_and_plot(tmp_path):
    speed = script("speed_pretrain")
    speed.main(["--quick", "--no_memory", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "speed_pretrain.json").read_text())
    assert [one["case"]["cells"] for one in found["pixelcl"]] == [2, 8]
    for one in found["pixelcl"]:
        theirs = one["time"]["pixel-level-contrastive-learning"]
        assert len(one["time"]["pixgraph"]["seconds"]) == 1
        assert "seconds" in theirs or "pip install pixel-level-contrastive-learning" in theirs["skipped"]
    assert all(len(one["seconds"]) == 1 for one in found["full"]["time"].values())
    assert {one["size"] for one in found["growth"]} == {32, 48}
    text = (tmp_path / "speed_pretrain.md").read_text()
    assert "| step of full-resolution PixPro |" in text
    assert "![memory and time by size](speed_pretrain.png)" in text
    assert (tmp_path / "speed_pretrain.png").stat().st_size > 1000


def test_memory_is_that_of_a_process_of_its_own():
    measure = script("pretrain_measure")
    spec = {"kind": "propagation", "name": "cells of 16", "case": {"size": 32}}
    found, other = measure.memory_of([spec, {**spec, "kind": "none"}])
    assert found["seconds"] > 0
    assert found["peak_mb"] is None or found["peak_mb"] < 500
    assert "step 'none' is unknown" in other["skipped"]


def test_a_child_that_fails_gives_its_reason(monkeypatch):
    measure = script("pretrain_measure")

    def failing(words, what):
        raise PixgraphError(f"measuring {what} failed: RuntimeError: [enforce fail] can't allocate memory")

    monkeypatch.setattr(measure, "measured_in_child", failing)
    assert measure.memory_of([{"name": "x"}]) == [{"skipped": "needs more memory than there is"}]
    assert measure.time_steps([{"kind": "none", "name": "x"}], 1)["x"]["skipped"].startswith("step 'none' is unknown")


def test_what_cannot_fit_is_listed_with_its_size(monkeypatch):
    speed = script("speed_pretrain")
    monkeypatch.setattr(speed, "available_mb", lambda: 1000.0)
    args = speed.parser().parse_args(["--no_memory", "--rounds", "1"])
    case = speed.Case(8, "layer2", 64, 2, 16)
    assert 2**20 <= case.broadcast_bytes < 2**24
    monkeypatch.setattr(speed.Case, "broadcast_bytes", 34 * 2**30)
    found = speed.compare(case, args)
    assert found["time"]["pixel-level-contrastive-learning"]["skipped"].startswith("34 GiB for one of its arrays")
    assert len(found["time"]["pixgraph"]["seconds"]) == 1
    row = script("pretrain_report")._compared(found)[0]
    assert row[3:5] == ["pixel-level-contrastive-learning", found["time"][row[3]]["skipped"]]


def test_steps_are_told_by_name(monkeypatch):
    steps = script("pretrain_steps")
    with pytest.raises(ConfigError, match=r"step 'x' is unknown; expected one of UNet, two views"):
        steps.build_step({"kind": "full", "name": "x", "case": {"network": "unet-small", "size": 16, "batch": 2}})
    with pytest.raises(ConfigError, match=r"propagation 'x' is unknown; expected one of cells of 16"):
        steps.build_step({"kind": "propagation", "name": "x", "case": {"size": 16}})
    monkeypatch.setitem(sys.modules, "pixel_level_contrastive_learning", None)
    case = {"cells": 8, "layer": "layer2", "image": 64, "batch": 2}
    with pytest.raises(DependencyError, match=r"not installed: pip install pixel-level-contrastive-learning"):
        steps.build_step({"kind": "pixelcl", "name": steps.PACKAGE, "case": case})


def test_slopes_and_ratios():
    made = script("pretrain_report")
    assert made.slope([(64.0, 2.0), (256.0, 8.0)]) == pytest.approx(1)
    assert made.slope([(64.0, 2.0)]) is None
    assert made.ratio([2.0], [1.0]) == "2.00 (2.00-2.00)"
