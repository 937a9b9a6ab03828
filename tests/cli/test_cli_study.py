import csv
import functools

import pytest
import yaml

from pixgraph.cli.main import main
from pixgraph.data.synthetic import SyntheticShapes

TINY = ["--backbone.size=64", "--graph.dilations=[1,2]", "--episodes=1", "--seeds=1"]
SPACE = "- {key: graph.num_fg, choices: [16, 64]}\n"


@functools.cache  # counting the classes of generated pictures draws them all
def generated(split):
    return SyntheticShapes(split, size=64, n_pictures=72)


@pytest.fixture
def small_pictures(monkeypatch):
    monkeypatch.setattr("pixgraph.study.episodes.open_dataset", lambda source, split: generated(split))


def test_a_study_runs_goes_on_and_reports(tmp_path, capsys, small_pictures):
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    arguments = [*TINY, "--space", str(space), "--sampler", "grid", "--out", str(tmp_path / "s")]
    assert main(["study", *arguments, "--trials", "1"]) == 0
    assert "1 of 1: mIoU" in capsys.readouterr().out
    assert main(["study", "run", *arguments]) == 0
    out = capsys.readouterr().out
    assert "2 of 2: mIoU" in out
    assert "1 of" not in out
    (tmp_path / "s" / "index.html").unlink()
    assert main(["study", "report", "--out", str(tmp_path / "s")]) == 0
    assert (tmp_path / "s" / "index.html").is_file()
    with (tmp_path / "s" / "trials.csv").open() as file:
        assert [line["factor: num_fg"] for line in csv.DictReader(file)] == ["64", "16"]
    best = str(tmp_path / "s" / "recommended" / "best.yaml")
    assert main(["evaluate", "--config", best, "--method", "propagate", "--print_config"]) == 0


def test_the_space_is_printed(capsys):
    assert main(["study", "space"]) == 0
    assert len(yaml.safe_load(capsys.readouterr().out)) > 15


def test_mistakes_end_in_one_line(tmp_path, fails):
    space = tmp_path / "space.yaml"
    space.write_text("- {key: graph.sride, choices: [4]}")
    out = ["--out", tmp_path / "s"]
    assert "did you mean 'graph.stride'" in fails("study", "--space", space, *out)
    space.write_text("[]")
    assert "expected a list of at least one factor" in fails("study", "--space", space, *out)
    space.write_text(SPACE)
    out += ["--space", space]
    assert "data.name: got 'camvit'" in fails("study", "--sources", "[{name: camvit}]", *out, *TINY)
    assert "--storage nowhere: " in fails("study", "--storage", "nowhere", *out, *TINY)
    assert "expected one of run, confirm, report, space" in fails("study", "rnu")
    assert "no study.db; expected the folder of a study" in fails("study", "report", "--out", tmp_path / "none")
    assert "trials: got 0, expected at least 1" in fails("study", "--trials", "0", *out)
    assert "--mode: got 'x', expected one of propagate, train" in fails("study", "--mode", "x", *out)
