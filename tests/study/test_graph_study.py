"""The script of the real study, on generated pictures."""

import functools
import importlib
import json
from pathlib import Path

import pytest
from toy_study import generated

from pixgraph.config import GraphConfig
from pixgraph.study import options as study_options

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delenv("PIXGRAPH_DATA", raising=False)
    for place in ("pixgraph.study.episodes.open_dataset", "pixgraph.training.sources.open_dataset"):
        monkeypatch.setattr(place, lambda source, split: generated(split))
    return importlib.import_module("graph_study")


def test_all_parts_run_and_are_known_afterwards(script, tmp_path, monkeypatch, capsys):
    small = functools.partial(GraphConfig, dilations=[1, 2])
    made = study_options.StudyOptions
    monkeypatch.setattr(study_options, "StudyOptions", lambda **given: made(**{**given, "graph": small()}))
    space, training = tmp_path / "space.yaml", tmp_path / "training.yaml"
    space.write_text("- {key: graph.num_fg, choices: [16, 64]}\n")
    training.write_text("- {key: graph.both_ways, choices: [false, true]}\n")
    arguments = ["--datasets", "synthetic", "--backbone", "filters", "--size", "64", "--cache", str(tmp_path / "c")]
    arguments += ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--workers", "1", "--steps", "1"]
    arguments += ["--space", str(space), "--training_space", str(training), "--seeds", "1", "--episodes", "1"]
    arguments += ["--drawn_episodes", "1", "--shots", "1", "--random", "2", "--tpe", "0"]
    assert script.main(arguments) == 0
    result = json.loads((tmp_path / "out" / "graph_study.json").read_text())
    counts = {name.split("-")[0]: part["trials"] for name, part in result["parts"].items() if "grid" in name}
    assert counts == {"propagate": 2, "train": 2}
    assert result["parts"]["propagate-random"]["trials"] == 2
    (confirmed,) = (part["trials"] for name, part in result["parts"].items() if name.startswith("confirm"))
    assert confirmed == 4
    text = (tmp_path / "out" / "graph_study.md").read_text()
    assert "| best |" in text
    assert str(tmp_path) not in (tmp_path / "out" / "findings.json").read_text()
    capsys.readouterr()
    assert script.main([*arguments, "--only", "grid", "training"]) == 0
    assert "mIoU" not in capsys.readouterr().out  # nothing was left to do


def test_the_training_space_fits_the_defaults(script):
    from pixgraph.config import Config
    from pixgraph.study.plan import one_at_a_time
    from pixgraph.study.space import acting, load_space

    found = acting(load_space(script.TRAINING_SPACE, Config()), "train")
    assert 12 <= len(one_at_a_time(found)) <= 22
