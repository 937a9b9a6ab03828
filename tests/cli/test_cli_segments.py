"""Segments as nodes, from the command line: training, scores, prediction."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from pixgraph.cli.main import main

SMALL = ["--backbone.size", "64", "--graph.nodes", "segments", "--graph.segments", "20", "--device", "cpu"]


def test_train_evaluate_and_predict_on_segments(shared_folder, support, query, tmp_path):
    data = ["--data.name", "folder", "--data.root", str(shared_folder)]
    model = ["--model.width", "8", "--model.heads", "2", "--model.decoder_blocks", "1"]
    steps = ["--train.steps", "2", "--train.batch", "1", "--train.val_every", "2", "--train.val_episodes", "1"]
    place = ["--runs", str(tmp_path / "runs"), "--run", "s", "--train.augment", "0"]
    assert main(["train", *data, *SMALL, *model, *steps, *place]) == 0
    run = tmp_path / "runs" / "s"
    assert main(["evaluate", "--run", str(run), "--episodes", "1", "--seeds", "1", "--baselines", "false"]) == 0
    found = json.loads((run / "summary.json").read_text())["evaluation"]
    assert found["methods"]["graph"]["miou"] is not None
    out = tmp_path / "out"
    argv = ["predict", "--support", str(support), "--query", str(query / "a.png"), "--out", str(out)]
    assert main([*argv, "--method", "propagate", *SMALL]) == 0
    red = np.asarray(Image.open(query / "a.png"))[:, :, 0] > 200
    mask = np.asarray(Image.open(out / "masks" / "a.png")) == 1
    assert (red & mask).sum() / (red | mask).sum() > 0.5
    assert "segments" in (run / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["--graph.segments", "1"], r"graph.segments: got 1, expected a whole number in \[2, 16384\]"),
        (["--graph.nodes", "voxels"], "graph.nodes: .*voxels"),
    ],
)
def test_wrong_settings_end_in_one_line(value, message, shared_folder, tmp_path, capsys):
    data = ["--data.name", "folder", "--data.root", str(shared_folder)]
    assert main(["train", *data, *value, "--runs", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert re.search(message, error)
    assert not (tmp_path / "runs").exists()
