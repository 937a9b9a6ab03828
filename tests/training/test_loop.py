"""`train` with its real parts on generated pictures: everything a run leaves, resumed, and loaded for prediction."""

import functools
import json

import pytest
import torch
from tiny_training import outcome, same

from pixgraph.config import BackboneConfig, Config, GraphConfig, ModelConfig, TrainConfig
from pixgraph.data.synthetic import SyntheticShapes
from pixgraph.errors import ConfigError, DependencyError, RunError
from pixgraph.training import sources
from pixgraph.training.checkpoint import load_network
from pixgraph.training.loop import train
from pixgraph.training.records import read_environment, read_metrics, read_summary


def small_config(runs, run="small", **settings):
    return Config(
        backbone=BackboneConfig(size=64),
        graph=GraphConfig(num_fg=16, num_bg=16, dilations=[1]),
        model=ModelConfig(width=16, heads=2, decoder_blocks=1),
        train=TrainConfig(steps=4, batch=2, warmup=1, val_every=2, val_episodes=2, save_every=2, augment=0),
        device="cpu",
        runs=str(runs),
        run=run,
        **settings,
    )


@functools.cache  # counting the classes of generated pictures draws them all
def generated(split):
    return SyntheticShapes(split, size=64, n_pictures=72)


@pytest.fixture(scope="module", autouse=True)
def small_data():
    """Fewer pictures than the generated data set has, of the same classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "open_dataset", lambda source, split: generated(split))
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train(small_config(folder, "whole"))
    return folder


def test_what_a_run_leaves(runs):
    path = runs / "whole"
    assert {p.name for p in (path / "checkpoints").iterdir()} == {"last.pt", "previous.pt", "best.pt"}
    summary = read_summary(path)
    assert summary["state"] == "finished"
    assert summary["parameters"] > 0
    assert summary["backbone"]["name"] == "filters"
    assert [(line["kind"], line["step"]) for line in read_metrics(path)] == [
        *(("train", 1), ("train", 2), ("val", 2), ("train", 3), ("train", 4), ("val", 4))
    ]
    assert read_environment(path)["device"] == "cpu"
    json.loads((path / "summary.json").read_text(), parse_constant=pytest.fail)


def test_training_twice_gives_the_same_bits(runs):
    train(small_config(runs, "again"))
    assert same(outcome(runs / "again"), outcome(runs / "whole"))


def test_a_run_resumes_where_a_kill_left_it(runs, monkeypatch):
    from pixgraph.training import trainer

    config = small_config(runs, "resumed")
    whole_step = trainer.Trainer.train_step

    def killed(self):
        if self.step == 3:
            raise InterruptedError("killed")
        return whole_step(self)

    monkeypatch.setattr(trainer.Trainer, "train_step", killed)
    with pytest.raises(InterruptedError, match="killed"):
        train(config)
    monkeypatch.undo()
    run = train(config, resume=True)
    assert run.path == runs / "resumed"
    assert same(outcome(run.path), outcome(runs / "whole"))


def test_the_best_network_loads(runs):
    trained = load_network(runs / "whole")
    assert trained.path.name == "best.pt"
    assert not trained.network.training
    assert trained.config.train.steps == 4
    assert trained.best["step"] == trained.step
    assert trained.backbone["fingerprint"]
    assert all(torch.isfinite(p).all() for p in trained.network.parameters())


def test_refusals_come_before_anything_is_written(runs):
    with pytest.raises(RunError, match="exists already; continue it with --resume"):
        train(small_config(runs, "whole"))
    with pytest.raises(RunError, match=r"another configuration: seed \(was 0, now 1\)"):
        train(small_config(runs, "whole", seed=1), resume=True)
    config = small_config(runs, "never")
    config.device = "tpu"
    with pytest.raises(ConfigError, match="device: got 'tpu'"):
        train(config)
    if not torch.cuda.is_available():
        config.device = "cuda"
        with pytest.raises(DependencyError, match="device: got 'cuda', but torch"):
            train(config)
    assert not (runs / "never").exists()
