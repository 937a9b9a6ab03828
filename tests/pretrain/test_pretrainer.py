import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_pretraining import STEPS, outcome, tiny_config, tiny_method, tiny_pretrain, write_pictures

from pixgraph.errors import CheckpointError, ConfigError, RunError
from pixgraph.training.checkpoint import load_checkpoint, load_network
from pixgraph.training.records import read_metrics, read_summary
from pixgraph.training.signals import TrainingStopped

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from tiny_training import same

PROGRAM = Path(__file__).with_name("tiny_pretraining.py")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("pretrain")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250, env=environment)
    assert done.returncode == 0, done.stderr
    return root / "runs", json.loads(done.stdout)


@pytest.mark.parametrize("name", ["killed", "stopped"])
def test_an_interrupted_run_ends_with_the_same_bits(report, name):
    runs, _ = report
    state, lines = outcome(runs / name)
    whole, others = outcome(runs / "whole")
    for settings in (state, whole):
        settings["config"]["optim"].pop("save_every")
    assert same(state, whole)
    assert lines == others


def test_kills_and_signals_end_as_they_should(report):
    _, seen = report
    assert seen["killed"] == [-9, -9, 0]
    assert seen["stopped"] == {"code": 143, "step": 1}


def test_two_processes_train_as_one(report):
    runs, seen = report
    assert seen["two"] == [0, 0]
    (two, lines), (one, others) = outcome(runs / "two"), outcome(runs / "whole")
    for name, tensor in one["method"].items():
        torch.testing.assert_close(two["method"][name], tensor, rtol=2e-4, atol=2e-5)
    for line, other in zip(lines, others, strict=True):
        assert line["loss"] == pytest.approx(other["loss"], rel=1e-4)


def test_the_first_step_is_logged_and_then_means(report):
    lines = outcome(report[0] / "whole")[1]
    assert [line["step"] for line in lines] == [1, 2, 4, 6]
    assert {"loss", "lr", "momentum", "grad_norm", "embedding_std", "embedding_rank"} <= set(lines[0])


@pytest.fixture
def root(tmp_path):
    write_pictures(tmp_path / "pictures")
    return tmp_path


@pytest.mark.parametrize("method", ["pixpro", "pixcontrast"])
def test_training_lowers_the_loss(root, method):
    config = tiny_config(root, method=method, steps=40, batch=8, lr=0.02, log_every=1)
    tiny_pretrain(config)
    losses = [line["loss"] for line in outcome(root / "runs" / "tiny")[1]]
    assert sum(losses[-5:]) < sum(losses[:5]) - 0.1


def test_the_target_follows_the_student_and_is_not_trained(root):
    config = tiny_config(root, steps=1)
    config.pixel.momentum, config.pixel.momentum_schedule = 0.9, "constant"
    method = tiny_method(config)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    tiny_pretrain(config, method=method)
    after = method.state_dict()
    followed = {
        name: name.replace("target.network.", "student.") for name, _ in method.target.named_parameters("target")
    }
    assert len(followed) > 4
    for name, student in followed.items():
        torch.testing.assert_close(after[name], 0.9 * before[name] + 0.1 * after[student], rtol=1e-5, atol=1e-6)


def test_accumulated_parts_average_their_gradients(root):
    whole = tiny_config(root, "whole", steps=1, clip=0.0, optimizer="sgd", lr=0.1, warmup=0)
    parts = tiny_config(root, "parts", steps=1, clip=0.0, optimizer="sgd", lr=0.1, warmup=0, accumulate=2)
    ends = []
    for config in (whole, parts):
        method = tiny_method(config)
        for module in method.modules():  # batch statistics are those of a part, so they are switched off here
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train = lambda mode, self=module: self
                module.training = False
        tiny_pretrain(config, method=method)
        ends.append(method.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_trains(root, precision):
    trainer = tiny_pretrain(tiny_config(root, precision=precision))
    assert trainer.step == STEPS
    assert all(torch.isfinite(p).all() for p in trainer.parameters)


def test_worker_processes_change_nothing(root):
    tiny_pretrain(tiny_config(root, "alone", steps=2))
    tiny_pretrain(tiny_config(root, "helped", steps=2, workers=2))
    alone, helped = outcome(root / "runs" / "alone")[0], outcome(root / "runs" / "helped")[0]
    assert same(alone["method"], helped["method"])


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_state(root):
    config = tiny_config(root, steps=4, save_every=1)
    tiny_pretrain(dataclasses.replace(config, optim=dataclasses.replace(config.optim)))
    method = tiny_method(config)
    with torch.no_grad():
        next(method.parameters()).fill_(float("nan"))
    with pytest.raises(RunError, match=r"step 0: the loss is nan; nothing was saved .*smaller --optim.lr"):
        tiny_pretrain(dataclasses.replace(config, run="nan"), method=method)


def test_a_run_goes_on_with_the_same_settings_and_pictures_only(root):
    config = tiny_config(root, steps=2)
    tiny_pretrain(config)
    other = dataclasses.replace(config, pixel=dataclasses.replace(config.pixel, threshold=0.5))
    with pytest.raises(RunError, match=r"pixel.threshold \(was 0.7, now 0.5\)"):
        tiny_pretrain(other, resume=True)
    (root / "pictures" / "8.png").unlink()
    with pytest.raises(RunError, match="trained on other pictures"):
        tiny_pretrain(config, resume=True)


def test_a_batch_that_cannot_be_shared_is_refused(root):
    with pytest.raises(ConfigError, match=r"optim.batch: got 4, expected a multiple of 3 \(optim.accumulate 3 x 1"):
        tiny_pretrain(tiny_config(root, accumulate=3))


def test_what_can_be_validated_is_and_an_interrupted_run_validates_the_same(root):
    scored = []

    def validate():
        scored.append(len(scored))
        return {"miou": [0.1, 0.3, 0.2][len(scored) - 1], "other": 1.0}

    trainer = tiny_pretrain(tiny_config(root, steps=5, val_every=2), validate=validate)
    folder = root / "runs" / "tiny"
    assert [(line["step"], line["miou"]) for line in validations(folder)] == [(2, 0.1), (4, 0.3), (5, 0.2)]
    assert trainer.best == {"step": 4, "miou": 0.3}
    assert read_summary(folder)["best"] == {"step": 4, "miou": 0.3}
    assert load_checkpoint(folder / "checkpoints" / "best.pt")["step"] == 4
    tiny_pretrain(tiny_config(root, steps=5, val_every=2), resume=True, validate=validate)  # nothing is left to do
    assert len(scored) == 3


def test_a_validation_that_a_signal_ends_is_made_on_resume(root):
    def broken_off():
        raise TrainingStopped(15)

    config = tiny_config(root, steps=4, val_every=2, save_every=100)
    with pytest.raises(TrainingStopped):
        tiny_pretrain(config, validate=broken_off)
    assert read_summary(root / "runs" / "tiny")["state"] == "stopped"
    tiny_pretrain(config, resume=True, validate=lambda: {"miou": 0.5})
    assert [line["step"] for line in validations(root / "runs" / "tiny")] == [2, 4]


def test_groups_of_parameters_may_learn_faster(root):
    config = tiny_config(root, steps=1, warmup=0)
    trainer = tiny_pretrain(config)
    trainer.steps, trainer.step = 2, 0
    trainer.optimizer.param_groups[1]["lr_scale"] = 10.0
    trainer._parts = iter([trainer.batches[0]])
    trainer.train_step()
    first, second = trainer.optimizer.param_groups
    assert second["lr"] == pytest.approx(10 * first["lr"])


def validations(folder):
    return [line for line in read_metrics(folder) if line["kind"] == "val"]


def test_a_pretrained_run_is_no_trained_network(root):
    tiny_pretrain(tiny_config(root, steps=1))
    with pytest.raises(CheckpointError, match=r"is of a pretraining; pass it as --backbone.weights"):
        load_network(root / "runs" / "tiny")
