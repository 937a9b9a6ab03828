"""The loop in one process: what a step computes, resuming to the bit, validation, divergence."""

import copy
import json

import pytest
import torch
from tiny_training import draw_task, outcome, same, tiny_config, tiny_loss, tiny_network, tiny_train, tiny_validate

from pixgraph.errors import CheckpointError, RunError
from pixgraph.training.checkpoint import load_checkpoint
from pixgraph.training.randomness import episode_seed, source_generator, torch_seed
from pixgraph.training.records import read_metrics, read_summary
from pixgraph.training.schedule import learning_rate
from pixgraph.training.signals import TrainingStopped


def stop_at(step, batch=3):
    """A task source that breaks the run off after `step` steps, as a crash would."""

    def draw(index):
        if index >= step * batch:
            raise InterruptedError("pulled the plug")
        return draw_task(index)

    return draw


def test_the_weights_are_those_of_a_loop_written_out(tmp_path):
    config = tiny_config(tmp_path, steps=5, weight_decay=0.1, clip=0.05)
    trainer = tiny_train(config)
    network = tiny_network()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.1)
    average = None
    for step in range(5):
        losses = []
        for index in range(step * 3, step * 3 + 3):
            torch.manual_seed(episode_seed(5, index))
            losses.append(tiny_loss(network, draw_task(index), config, 0)[0])
        optimizer.zero_grad()
        (sum(losses) / 3).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.05)
        optimizer.param_groups[0]["lr"] = learning_rate(step, config.train)
        optimizer.step()
        weights = [p.detach().clone() for p in network.parameters()]
        average = weights if average is None else [0.9 * a + 0.1 * w for a, w in zip(average, weights, strict=True)]
    for expected, got in zip(network.parameters(), trainer.network.parameters(), strict=True):
        torch.testing.assert_close(got, expected)
    for expected, got in zip(average, trainer.average.network.parameters(), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("crash", [1, 4, 7, 11])
def test_a_resumed_run_is_equal_to_the_bit(tmp_path, crash):
    tiny_train(tiny_config(tmp_path, "whole"))
    config = tiny_config(tmp_path, "crashed")
    with pytest.raises(InterruptedError, match="plug"):
        tiny_train(config, draw=stop_at(crash))
    assert read_summary(tmp_path / "crashed")["state"] == "failed"
    # After the first checkpoint the network comes from it; before, from the seed of the run.
    tiny_train(config, resume=True, network=tiny_network(seed=99 if crash > 3 else 0))
    assert same(outcome(tmp_path / "crashed"), outcome(tmp_path / "whole"))
    assert read_summary(tmp_path / "crashed")["state"] == "finished"
    best = [load_checkpoint(tmp_path / name / "checkpoints" / "best.pt")["network"] for name in ("whole", "crashed")]
    assert same(*best)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    config = tiny_config(tmp_path)
    tiny_train(config)
    before = outcome(tmp_path / "tiny")
    tiny_train(config, resume=True)
    assert same(outcome(tmp_path / "tiny"), before)


def test_the_state_of_torchs_generator_is_left_alone(tmp_path):
    network = tiny_network()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    tiny_train(tiny_config(tmp_path), network=network)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_validation_that_is_broken_off_comes_first_on_resume(tmp_path):
    tiny_train(tiny_config(tmp_path, "whole"))

    def validate(network):
        raise TrainingStopped(15)

    config = tiny_config(tmp_path, "stopped")
    with pytest.raises(TrainingStopped, match="143") as stop:
        tiny_train(config, validate=validate)
    assert stop.value.code == 143
    state = load_checkpoint(tmp_path / "stopped" / "checkpoints" / "last.pt")
    assert (state["step"], state["validated"]) == (4, 0)
    tiny_train(config, resume=True)
    assert same(outcome(tmp_path / "stopped"), outcome(tmp_path / "whole"))


def test_the_best_validation_is_kept(tmp_path):
    scores = iter([0.3, 0.5, 0.4])
    tiny_train(tiny_config(tmp_path), validate=lambda network: {"miou": next(scores)})
    summary = read_summary(tmp_path / "tiny")
    assert summary["best"] == {"step": 8, "miou": 0.5}
    assert summary["val"] == {"step": 12, "miou": 0.4}
    assert load_checkpoint(tmp_path / "tiny" / "checkpoints" / "best.pt")["step"] == 8
    assert [line["miou"] for line in read_metrics(tmp_path / "tiny") if line["kind"] == "val"] == [0.3, 0.5, 0.4]


def test_an_undefined_score_gives_way_to_any_other(tmp_path):
    scores = iter([float("nan"), 0.1, float("nan")])
    trainer = tiny_train(tiny_config(tmp_path), validate=lambda network: {"miou": next(scores)})
    assert trainer.best == {"step": 8, "miou": 0.1}
    json.loads((tmp_path / "tiny" / "summary.json").read_text(), parse_constant=pytest.fail)


def test_validation_sees_the_averaged_weights_in_evaluation_mode(tmp_path):
    seen = []

    def validate(network):
        seen.append((network.training, torch.is_grad_enabled(), network))
        return tiny_validate(network)

    trainer = tiny_train(tiny_config(tmp_path), validate=validate)
    assert {(training, grad) for training, grad, _ in seen} == {(False, False)}
    assert seen[0][2] is trainer.average.network is not trainer.network
    raw = tiny_train(tiny_config(tmp_path, "raw", ema=0.0), validate=validate)
    assert raw.average.network is raw.network is seen[-1][2]
    assert raw.state()["average"] is None


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_nothing(tmp_path):
    def loss(network, task, config, seed):
        value, logs = tiny_loss(network, task, config, seed)
        return (value * float("nan") if task.query[0].key in ("16", "17") else value), logs

    expected = r"step 5: the loss is nan on episodes \[16, 17\]; nothing was saved since, .*smaller --train\.lr"
    with pytest.raises(RunError, match=expected):
        tiny_train(tiny_config(tmp_path), loss=loss)
    assert load_checkpoint(tmp_path / "tiny" / "checkpoints" / "last.pt")["step"] == 3
    assert read_summary(tmp_path / "tiny")["state"] == "failed"


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    def loss(network, task, config, seed):
        first = next(network.parameters()).flatten()[0]
        return torch.sqrt(first - first.item()), {}

    with pytest.raises(RunError, match=r"step 0: the gradient is not finite on episodes \[0, 1, 2\]"):
        tiny_train(tiny_config(tmp_path), loss=loss)


def test_resume_refuses_another_model_backbone_or_data(tmp_path):
    config = tiny_config(tmp_path)
    tiny_train(config)
    with pytest.raises(
        CheckpointError, match=r"belongs to another model: .*0\.weight has shape \(8, 3\) instead of \(9, 3\)"
    ):
        tiny_train(config, resume=True, network=torch.nn.Sequential(torch.nn.Linear(3, 9)))
    origin = {"channels": [3], "backbone": {"fingerprint": "1"}, "data": {"0 tiny": "abc"}}
    with pytest.raises(CheckpointError, match="trained on features of backbone 000000000000, but this one is 1; pass"):
        tiny_train(config, resume=True, origin=origin)
    origin = {"channels": [3], "backbone": {"fingerprint": "0" * 12}, "data": {"0 tiny": "other"}}
    with pytest.raises(RunError, match="was trained on other data: pictures or classes of the data set have changed"):
        tiny_train(config, resume=True, origin=origin)


def test_resume_from_an_edited_config_file_is_refused(tmp_path):
    config = tiny_config(tmp_path)
    tiny_train(config)
    path = tmp_path / "tiny" / "config.yaml"
    path.write_text(path.read_text().replace("lr: 0.01", "lr: 0.02"))
    edited = copy.deepcopy(config)
    edited.train.lr = 0.02
    with pytest.raises(RunError, match=r"another configuration: train\.lr \(was 0\.01, now 0\.02\)"):
        tiny_train(edited, resume=True)


def test_a_broken_last_checkpoint_points_to_the_previous_one(tmp_path):
    config = tiny_config(tmp_path)
    tiny_train(config)
    last = tmp_path / "tiny" / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"last\.pt is truncated .*previous\.pt or best\.pt of the same run"):
        tiny_train(config, resume=True)
    last.write_bytes(last.with_name("previous.pt").read_bytes())
    tiny_train(config, resume=True)
    tiny_train(tiny_config(tmp_path, "whole"))
    assert same(outcome(tmp_path / "tiny"), outcome(tmp_path / "whole"))


def test_plain_lines_where_there_is_no_terminal(tmp_path, capsys):
    tiny_train(tiny_config(tmp_path))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("step 4/12  loss 0.")
    assert "val mIoU 0." in lines[0]
    assert "best 0." in lines[0]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    tiny_train(tiny_config(tmp_path, tensorboard=True))
    assert list((tmp_path / "tiny" / "tensorboard").iterdir())


def test_randomness_is_a_function_of_seed_and_index():
    assert episode_seed(1, 2) == episode_seed(1, 2)
    assert len({episode_seed(seed, index) for seed in range(5) for index in range(50)}) == 250
    assert source_generator(1, 2).random() == source_generator(1, 2).random()
    with torch_seed(4):
        first = torch.rand(3)
    with torch_seed(4):
        assert torch.equal(torch.rand(3), first)
