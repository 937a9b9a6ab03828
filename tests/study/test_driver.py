"""The driver with a toy objective: plans, kills, resumption, pruning."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from toy_study import BLOCKS, objective, storage, work

from pixgraph.errors import ConfigError, RunError
from pixgraph.study import driver
from pixgraph.study.driver import Outcome, lay_down, run_trials
from pixgraph.study.plan import defaults
from pixgraph.study.pruning import STARTUP
from pixgraph.study.storage import open_storage, open_study
from pixgraph.study.trials import read_rows


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch):
    monkeypatch.setattr(driver, "POLL", 0.1)


def test_a_grid_is_run_once_and_then_known(tmp_path):
    made, calls = work(tmp_path), []

    def counted(settings, report):
        calls.append(settings)
        return objective(settings, report)

    run_trials(made, storage(tmp_path), counted)
    run_trials(made, storage(tmp_path), counted)
    assert len(calls) == len(made.plan) == 4
    rows = read_rows(storage(tmp_path))
    assert [r.values for r in rows] == [dict(p.values) for p in made.plan]
    assert all(r.state == "complete" and tuple(r.blocks) == BLOCKS for r in rows)
    assert rows[1].miou == pytest.approx(0.416)
    with pytest.raises(RunError, match=r"'toy' was begun with other settings \(x differ\)"):
        run_trials(replace(made, settings='{"x": 2}'), storage(tmp_path), counted)


def test_a_study_grows_and_impossible_settings_are_told(tmp_path):
    run_trials(work(tmp_path, "random", 2), storage(tmp_path), objective)
    run_trials(work(tmp_path, "random", 9), storage(tmp_path), objective)
    rows = read_rows(storage(tmp_path))
    assert [r.index for r in rows] == list(range(9))
    impossible = [r for r in rows if r.values == {"num_fg": "16", "sampling": "boundary"}]
    assert impossible
    assert {(r.state, r.reason, r.miou) for r in impossible} == {("failed", "impossible", None)}
    assert sum(r.state == "complete" for r in rows) == 9 - len(impossible)


def test_the_sampler_chooses_what_the_plan_leaves_open(tmp_path, monkeypatch):
    monkeypatch.setattr("pixgraph.study.plan.STARTUP", 3)
    run_trials(work(tmp_path, "tpe", 6), storage(tmp_path), objective)
    rows = read_rows(storage(tmp_path))
    assert [r.index for r in rows] == list(range(6))
    assert all(set(r.values) == {"num_fg", "sampling"} for r in rows)


def test_a_killed_worker_loses_its_running_trial_which_is_begun_again(tmp_path):
    work(tmp_path)  # writes the space
    command = [sys.executable, str(Path(__file__).with_name("toy_study.py")), str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    run_trials(work(tmp_path), storage(tmp_path), objective)
    rows = read_rows(storage(tmp_path))
    assert [(r.index, r.state, r.retries) for r in rows] == [
        (0, "complete", 1),
        (1, "complete", 0),
        (2, "complete", 0),
        (3, "complete", 0),
    ]
    assert rows[0].values == defaults(work(tmp_path).factors)


def test_a_trial_that_kills_every_worker_is_left_alone(tmp_path):
    from pixgraph.study.storage import RETRIES, RETRY, begin_again

    study = open_study(storage(tmp_path), "toy", "{}")
    study.enqueue_trial({}, user_attrs={"index": 0, RETRY: RETRIES})
    begin_again(study, study.ask())
    assert len(study.trials) == 1


def test_a_plan_that_two_processes_lay_down_is_run_once(tmp_path):
    made = work(tmp_path)
    study = open_study(storage(tmp_path), made.name, made.settings)
    lay_down(study, made.plan)
    for planned in made.plan:  # as if both had looked before either wrote
        study.enqueue_trial(dict(planned.values), user_attrs={"index": planned.index})
    calls = []
    run_trials(made, storage(tmp_path), lambda s, report: calls.append(s) or objective(s, report))
    assert len(calls) == len(made.plan)
    assert [r.index for r in read_rows(storage(tmp_path))] == [0, 1, 2, 3]


def test_hopeless_trials_are_given_up(tmp_path):
    worse = []

    def falling(settings, report):
        worse.append(len(worse))
        bad = len(worse) > STARTUP
        for name in BLOCKS:
            report(name, 0.1 if bad else 0.5, 20.0 if bad else 10.0, 3.0)
        return Outcome(0.5, 10.0, 3.0)

    run_trials(work(tmp_path, "random", STARTUP + 2, prune=True), storage(tmp_path), falling)
    rows = read_rows(storage(tmp_path))
    assert [r.state for r in rows] == ["complete"] * STARTUP + ["pruned"] * 2
    assert rows[-1].miou is None
    assert len(rows[-1].blocks) == 3


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "--storage nonsense: .*expected a URL such as sqlite"),
        ("sqlite:////no/such/folder/x.db", "unable to open database file.*can be written to"),
        ("postgresql://nobody@localhost/x", "--storage postgresql.*expected a URL|--storage postgresql.*expected"),
    ],
)
def test_bad_databases(url, words):
    with pytest.raises(ConfigError, match=words):
        open_storage(url)


def test_without_optuna_the_extra_is_named(monkeypatch):
    from pixgraph.errors import DependencyError
    from pixgraph.study.storage import load_optuna

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DependencyError, match=r"pip install 'pixgraph\[study\]'"):
        load_optuna()
