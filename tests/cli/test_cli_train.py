import json
import os
import shutil
import subprocess
import sys

import pytest

from pixgraph import FewShotSegmenter
from pixgraph.cli.main import main
from pixgraph.errors import CheckpointError

TINY = [
    *("--backbone.size", "32", "--graph.dilations", "[1]", "--graph.num_fg", "8", "--graph.num_bg", "8"),
    *("--model.width", "8", "--model.heads", "2", "--model.decoder_blocks", "1", "--device", "cpu"),
    *("--train.batch", "2", "--train.val_episodes", "2", "--train.augment", "0", "--train.save_every", "1"),
]


def train_arguments(root, runs, name, steps):
    data = ["--data.name", "folder", "--data.root", str(root), "--runs", str(runs), "--name", name]
    return ["train", *data, *TINY, "--train.steps", str(steps), "--train.val_every", "2"]


@pytest.fixture(scope="session")
def trained(shared_folder, tmp_path_factory):
    """A run of two steps."""
    runs = tmp_path_factory.mktemp("trained")
    assert main(train_arguments(shared_folder, runs, "tiny", 2)) == 0
    return runs / "tiny"


def test_training_leaves_a_run(trained):
    assert {"config.yaml", "environment.json", "metrics.jsonl", "summary.json"} <= {p.name for p in trained.iterdir()}
    assert (trained / "checkpoints" / "best.pt").is_file()
    assert json.loads((trained / "summary.json").read_text())["state"] == "finished"


def test_a_run_is_not_overwritten(trained, shared_folder, fails):
    assert "exists already; continue it with --resume" in fails(
        *train_arguments(shared_folder, trained.parent, "tiny", 2)
    )


def test_a_run_is_scored_under_its_own_settings(trained, capsys):
    argv = ["evaluate", "--run", str(trained), "--episodes", "2", "--seeds", "1", "--device", "cpu"]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "folder/test, 1-way 1-shot" in text
    for name in ("graph", "propagate", "all-background", "prototype", "knn", "linear"):
        assert any(line.startswith(f"{name} ") for line in text.splitlines())
    summary = json.loads((trained / "summary.json").read_text())
    assert (summary["state"], summary["evaluation"]["main"]) == ("finished", "graph")
    assert summary["evaluation"]["backbone"]["size"] == 32
    assert (trained / "index.html").is_file()


def test_a_run_predicts(trained, support, query, tmp_path, capsys):
    argv = ["predict", "--checkpoint", str(trained), "--support", str(support), "--query", str(query)]
    assert main([*argv, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert (found["method"], found["size"]) == ("graph", 32)
    assert found["checkpoint"].endswith("best.pt")
    checkpoint = str(trained / "checkpoints" / "last.pt")
    assert (
        main([*argv[:1], "--checkpoint", checkpoint, *argv[3:], "--out", str(tmp_path / "b"), "--device", "cpu"]) == 0
    )


def test_a_checkpoint_that_left_its_run_predicts_with_its_own_settings(trained, support, query, tmp_path):
    alone = tmp_path / "elsewhere" / "mine.pt"
    alone.parent.mkdir()
    alone.write_bytes((trained / "checkpoints" / "best.pt").read_bytes())
    argv = ["predict", "--checkpoint", str(alone), "--support", str(support), "--query", str(query), "--device", "cpu"]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert (found["method"], found["size"]) == ("graph", 32)


def test_training_on_what_is_validated_is_said(folder, tmp_path, capsys):
    for name in ("cup", "dish", "egg"):
        for kind in ("images", "masks"):
            shutil.rmtree(folder / kind / name)
    assert main(train_arguments(folder, tmp_path, "few", 1)) == 0
    assert "6 of the 6 pictures of the validation are trained on" in capsys.readouterr().err


def test_a_run_is_a_segmenter(trained, shared_folder):
    segmenter = FewShotSegmenter.load(trained, device="cpu")
    image, mask = shared_folder / "images" / "egg" / "0.png", shared_folder / "masks" / "egg" / "0.png"
    import numpy as np
    from PIL import Image

    segmenter.fit(image, np.asarray(Image.open(mask)) > 0)
    one, two = segmenter.predict(image)[0], segmenter.predict(image)[0]
    assert one.shape == (48, 64)
    np.testing.assert_array_equal(one, two)


def test_a_run_needs_the_backbone_it_was_trained_on(trained, support, query, fails, tmp_path):
    argv = ["predict", "--checkpoint", trained, "--support", support, "--query", query, "--out", tmp_path / "out"]
    line = fails(*argv, "--backbone.name", "squeezenet1_1", "--backbone.weights", "random", "--device", "cpu")
    assert "best.pt was trained on features of filters" in line
    assert "set backbone.name and backbone.weights to its own" in line


def test_a_checkpoint_and_a_method_contradict_each_other(trained, support, query, fails, tmp_path):
    argv = ["predict", "--checkpoint", trained, "--support", support, "--query", query, "--out", tmp_path / "out"]
    assert "--method: got 'knn' beside --checkpoint; leave one of the two out" in fails(*argv, "--method", "knn")
    assert "expected either --run RUN_FOLDER or --method" in fails("evaluate", "--run", trained, "--method", "knn")


def test_broken_checkpoints_are_explained(trained, tmp_path, support, query, fails):
    broken = tmp_path / "broken"
    (broken / "checkpoints").mkdir(parents=True)
    (broken / "config.yaml").write_bytes((trained / "config.yaml").read_bytes())
    good = (trained / "checkpoints" / "best.pt").read_bytes()
    argv = ["predict", "--checkpoint", broken, "--support", support, "--query", query, "--out", tmp_path / "out"]
    assert "holds no checkpoint" in fails(*argv)
    (broken / "checkpoints" / "best.pt").write_bytes(good[: len(good) // 2])
    assert "best.pt is truncated" in fails(*argv)
    with pytest.raises(CheckpointError, match=r"best\.pt is truncated"):
        FewShotSegmenter.load(broken)


def test_resume_goes_on_and_refuses_other_settings(shared_folder, tmp_path, fails, capsys):
    assert main(train_arguments(shared_folder, tmp_path, "r", 2)) == 0
    assert main(["train", "--resume", str(tmp_path / "r")]) == 0  # done already: nothing to do
    line = fails("train", "--resume", tmp_path / "r", "--train.lr", "0.5")
    assert "train.lr (was 0.002, now 0.5)" in line


@pytest.mark.slow
def test_two_processes_train_and_score_as_one(shared_folder, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "pixgraph"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    score = ["evaluate", "--checkpoint", str(tmp_path / "two"), "--episodes", "3", "--seeds", "1", "--report", "false"]
    for argv in (train_arguments(shared_folder, tmp_path, "two", 2), score):
        done = subprocess.run([*command, *argv], capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("run folder: ") == 1
    two = json.loads((tmp_path / "two" / "summary.json").read_text())["evaluation"]
    assert main(score) == 0
    one = json.loads((tmp_path / "two" / "summary.json").read_text())["evaluation"]
    assert one["methods"]["graph"]["per_seed"] == two["methods"]["graph"]["per_seed"]
