"""The run's folder: names, lock, changed configurations, metrics, summary, ledger, environment."""

import dataclasses
import json
import math
import resource
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_training import tiny_config

from pixgraph.config import Config, SourceConfig, TrainConfig
from pixgraph.errors import ConfigError, DataError, RunError
from pixgraph.training.checkpoint import load_checkpoint
from pixgraph.training.environment import environment
from pixgraph.training.identity import differing_keys, require_same_config
from pixgraph.training.ledger import read_ledger, record_run
from pixgraph.training.records import read_config, read_metrics, read_summary
from pixgraph.training.run import RunFolder


@pytest.fixture
def config(tmp_path):
    return tiny_config(tmp_path / "runs")


def test_create_writes_the_resolved_configuration(config):
    with RunFolder.create(config) as run:
        assert yaml.safe_load((run.path / "config.yaml").read_text()) == dataclasses.asdict(config)
        assert read_config(run.path)["train"]["steps"] == 12


def test_a_name_is_made_of_data_set_and_time(config):
    config.run = None
    with RunFolder.create(config) as first, RunFolder.create(config) as second:
        assert first.path.name.startswith("synthetic-20")
        assert first.path != second.path


def test_a_second_run_in_the_folder_is_refused(config):
    with RunFolder.create(config), pytest.raises(RunError, match=r"run .*tiny is in use by process \d+; wait for it"):
        RunFolder.create(config)
    with pytest.raises(RunError, match="exists already; continue it with --resume"):
        RunFolder.create(config)
    with RunFolder.open(config), pytest.raises(RunError, match="is in use by process"):
        RunFolder.open(config)
    RunFolder.open(config).close()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/x", "a\\b", "a\0"])
@pytest.mark.parametrize("start", [RunFolder.create, RunFolder.open])
def test_a_run_has_a_plain_name(config, name, start):
    config.run = name
    with pytest.raises(ConfigError, match=r"^run: got '.*', expected the plain name of a folder, such as first; -"):
        start(config)
    assert not Path(config.runs).exists()


def test_resume_needs_a_run(config):
    with pytest.raises(RunError, match=r"no run to resume at .*tiny: it has no config\.yaml"):
        RunFolder.open(config)
    config.run = None
    with pytest.raises(ConfigError, match="run: got nothing, expected the name of the run to resume"):
        RunFolder.open(config)


def test_resume_with_changed_settings_names_the_keys_and_releases_the_lock(config):
    RunFolder.create(config).close()
    changed = dataclasses.replace(config, seed=6, extra=[SourceConfig("camvid")])
    changed.train = dataclasses.replace(config.train, lr=0.5, save_every=1, tensorboard=True)
    with pytest.raises(RunError, match="made with another configuration") as error:
        RunFolder.open(changed)
    text = str(error.value)
    assert "train.lr (was 0.01, now 0.5)" in text
    assert "seed (was 5, now 6)" in text
    assert "extra.0.name (was None, now 'camvid')" in text
    assert "save_every" not in text
    assert "tensorboard" not in text
    assert "\n" not in text
    RunFolder.open(config).close()


@pytest.mark.parametrize("key", ["device", "runs", "run", "train.save_every", "data.root", "backbone.cache"])
def test_settings_that_cannot_change_the_numbers_may_change(key):
    old = dataclasses.asdict(Config())
    new = dataclasses.asdict(Config())
    *section, name = key.split(".")
    (new[section[0]] if section else new)[name] = "changed"
    assert differing_keys(old, new) == {}
    require_same_config(old, Config(device="cpu", run="x"), "runs/x")


def test_every_other_setting_counts():
    old = dataclasses.asdict(Config())
    new = dataclasses.asdict(Config())
    new["graph"]["dilations"] = [1]
    new["model"]["dropout"] = 0.77
    assert set(differing_keys(old, new)) == {"graph.dilations", "model.dropout"}


def test_settings_that_did_not_exist_yet_have_their_defaults():
    old = dataclasses.asdict(Config())
    del old["train"]["augment_crop"], old["loss"]["unsup_nodes"]
    require_same_config(old, Config(), "runs/x")
    with pytest.raises(RunError, match=r"train.augment_crop \(was True, now False\)"):
        require_same_config(old, Config(train=TrainConfig(augment_crop=False)), "runs/x")


def test_settings_that_no_longer_exist_are_named():
    old = dataclasses.asdict(Config())
    old["train"]["former"] = 3
    with pytest.raises(RunError, match=r"train.former \(was 3, now None\)"):
        require_same_config(old, Config(), "runs/x")


def test_zero_is_not_none():
    assert differing_keys({"a": 0, "c": []}, {"a": None, "c": None}) == {"a": (0, None)}


def test_debris_of_killed_processes_is_removed(config):
    with RunFolder.create(config) as run:
        debris = [run.path / ".summary.json.123.tmp", run.last.with_name(".last.pt.123.tmp")]
    for path in debris:
        path.touch()
    RunFolder.open(config).close()
    assert not any(path.exists() for path in debris)


def test_the_last_but_one_checkpoint_is_kept(config):
    with RunFolder.create(config) as run:
        for step in (1, 2, 3):
            run.save_last({"step": step})
        assert load_checkpoint(run.last)["step"] == 3
        assert load_checkpoint(run.last.with_name("previous.pt"))["step"] == 2
        assert sorted(p.name for p in run.last.parent.iterdir()) == ["last.pt", "previous.pt"]


def test_metrics_are_rewound_to_the_resumed_step(config):
    with RunFolder.create(config) as run:
        for step in (1, 2, 3, 4):
            run.log("train", step, {"loss": math.nan if step == 2 else 1.5, "n": np.float32(0.5)})
        run.log("val", 2, {"miou": 0.5})
        run.log("val", 4, {"miou": 0.6})
        with (run.path / "metrics.jsonl").open("a") as file:
            file.write('{"kind": "train", "st')  # torn by a kill
        run.rewind_metrics(step=3, validated=2)
        lines = read_metrics(run.path)
    assert [(line["kind"], line["step"]) for line in lines] == [("train", 1), ("train", 2), ("train", 3), ("val", 2)]
    assert lines[1]["loss"] is None
    assert lines[0]["n"] == 0.5


def test_summary_merges_and_the_ledger_has_one_line_a_run(config):
    with RunFolder.create(config) as run:
        run.summarise({"state": "running", "parameters": 42})
        run.summarise({"state": "finished", "best": {"step": 4, "miou": 0.51239}, "seconds": 12.6})
        summary = read_summary(run.path)
        assert summary["parameters"] == 42
        assert summary["state"] == "finished"
        record_run(run.path.parent, "other, with comma", {"dataset": "camvid", "note": "own column"})
        rows = read_ledger(run.path.parent)
    assert [row["run"] for row in rows] == ["tiny", "other, with comma"]
    assert rows[0] | {"updated": ""} == {
        "run": "tiny",
        "dataset": "synthetic",
        "method": "graph",
        "n_way": "1",
        "k_shot": "1",
        "seed": "5",
        "val_miou": "0.5124",
        "state": "finished",
        "seconds": "13",
        "updated": "",
        "note": "",
    }


def test_a_file_that_is_no_ledger_is_kept(tmp_path):
    (tmp_path / "index.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match=r"index\.csv is not a ledger of runs: it has no column 'run'; move it away"):
        record_run(tmp_path, "x", {})
    assert (tmp_path / "index.csv").read_text() == "a,b\n1,2\n"


def test_a_full_disk_keeps_the_old_summary(config):
    with RunFolder.create(config) as run:
        run.summarise({"state": "running"})
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
        try:
            with pytest.raises(RunError, match=r"cannot write .*summary\.json: .*; free space, or choose another"):
                run.summarise({"state": "finished", "text": "x" * 1000})
            with pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl"):
                run.log("train", 1, {"text": "x" * 1000})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert read_summary(run.path)["state"] == "running"
        assert [p.name for p in run.path.glob("*.tmp")] == []


@pytest.mark.parametrize("error", [ConfigError("x"), DataError("x"), RuntimeError("x"), KeyboardInterrupt()])
def test_only_a_run_without_a_step_that_other_input_would_mend_is_removed(config, error):
    def failed(opened):
        opened.summarise({"state": "running"})
        with pytest.raises(type(error)), opened:
            raise error
        return opened.path

    path = failed(RunFolder.create(config))
    mended = isinstance(error, (ConfigError, DataError))
    assert path.exists() != mended
    assert [row["run"] for row in read_ledger(path.parent)] == ([] if mended else [path.name])
    RunFolder.create(config).close() if mended else RunFolder.open(config).close()
    failed(RunFolder.open(config))
    assert path.exists()


def test_a_folder_that_was_there_keeps_what_is_in_it(config):
    notes = Path(config.runs) / config.run / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    with pytest.raises(ConfigError), RunFolder.create(config):
        raise ConfigError("x")
    assert notes.read_text() == "mine"
    RunFolder.create(config).close()


def test_runs_that_is_a_file(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(RunError, match=r"cannot write .*runs: (Not a directory|File exists)"):
        RunFolder.create(tiny_config(tmp_path / "runs"))


@pytest.mark.parametrize("text", ["{broken: [", 100_000 * "["])
@pytest.mark.parametrize(("name", "reader"), [("config.yaml", read_config), ("summary.json", read_summary)])
def test_broken_records_are_named(tmp_path, name, reader, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(RunError, match=f"cannot read .*{name}: .*; expected"):
        reader(tmp_path)


def test_environment_is_plain_and_names_versions():
    values = json.loads(json.dumps(environment()))
    assert {"pixgraph", "python", "packages", "platform", "threads", "device"} <= values.keys()
    assert values["packages"]["torch"]
    assert Path(values["command"][0]).name
