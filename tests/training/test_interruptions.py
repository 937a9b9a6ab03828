"""Kills, signals and several processes, in real processes; one program does it all, for torch is slow to import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_training import outcome, same

PROGRAM = Path(__file__).with_name("tiny_training.py")


def run_program(runs, steps, kills, seed):
    command = [sys.executable, str(PROGRAM), str(runs), str(steps), str(kills), str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250, env=environment)
    assert done.returncode == 0, done.stderr
    return runs, json.loads(done.stdout)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return run_program(tmp_path_factory.mktemp("runs"), steps=12, kills=5, seed=0)


@pytest.mark.parametrize("name", ["killed", "stopped-15-False", "stopped-2-False"])
def test_an_interrupted_run_ends_with_the_same_bits(report, name):
    runs, _ = report
    whole = outcome(runs / ("often" if name == "killed" else "whole"))
    assert same(outcome(runs / name), whole)


def test_kill_9_leaves_no_debris_once_resumed(report):
    _, seen = report
    assert seen["killed"]["codes"] == [-9] * 5 + [0]
    assert seen["killed"]["debris"] == []


@pytest.mark.parametrize(("name", "code"), [("sigterm", 143), ("sigint", 130)])
def test_a_signal_finishes_the_step_and_saves(report, name, code):
    seen = report[1][name]
    assert seen["code"] == code
    assert seen["step"] == 3  # the signal came in the third step; saving was not due before
    assert seen["state"] == "stopped"


def test_a_second_signal_exits_at_once(report):
    seen = report[1]["twice"]
    assert seen["code"] == 143
    assert seen["step"] is None  # nothing was saved: the step was not waited for


def test_two_processes_train_as_one(report):
    runs, seen = report
    assert seen["two"] == [0, 0]
    one, lines = outcome(runs / "whole")
    two, others = outcome(runs / "two")
    for key in ("network", "average"):
        a, b = one[key], two[key]
        a, b = (a["weights"], b["weights"]) if key == "average" else (a, b)
        for name in a:
            torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)
    assert [line["step"] for line in lines] == [line["step"] for line in others]
    for line, other in zip(lines, others, strict=True):
        assert line.pop("kind") == other.pop("kind")
        assert line == pytest.approx(other, rel=1e-4)
    assert lines[0]["loss"] == others[0]["loss"]  # the same episodes and dropout, to the bit


def test_a_signal_to_one_of_two_processes_stops_both(report):
    runs, seen = report
    assert seen["two_stopped"] == [143, 143]
    assert json.loads((runs / "two-stopped-1" / "summary.json").read_text())["state"] == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_fifty_kills_change_nothing(tmp_path, seed):
    runs, seen = run_program(tmp_path, steps=200, kills=50, seed=seed)
    assert seen["killed"]["codes"] == [-9] * 50 + [0]
    assert same(outcome(runs / "killed"), outcome(runs / "often"))


@pytest.mark.slow
def test_torchrun_starts_it(tmp_path):
    training = f"tiny_train(tiny_config({str(tmp_path)!r}, 'torchrun'))"
    code = f"from tiny_training import *\nwith ProcessGroup():\n    {training}\n    {training}"
    script = tmp_path / "go.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r})\n{code}\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    # The second training of the same name is refused, once and in words.
    assert done.returncode != 0
    assert "exists already; continue it with --resume" in done.stderr
    assert json.loads((tmp_path / "torchrun" / "summary.json").read_text())["state"] == "finished"
