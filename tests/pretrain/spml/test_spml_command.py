"""`pixgraph pretrain spml` on a tiny data set: runs, resumes to the bit, refuses what cannot be."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from small_camvid import options, small_camvid
from spoiled_camvid import SPOILED

from pixgraph.backbones.build import build_backbone
from pixgraph.cli.main import main
from pixgraph.config import BackboneConfig
from pixgraph.data.camvid import CLASSES
from pixgraph.pretrain.trainer import Pretrainer
from pixgraph.training.checkpoint import load_checkpoint
from pixgraph.training.run import RunFolder


@pytest.fixture
def root(tmp_path, monkeypatch):
    small_camvid(tmp_path / "camvid")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(run="r", **settings):
    named = {key.replace("__", "."): value for key, value in settings.items()}
    return ["pretrain", "spml", "--data", "camvid:camvid", "--run", run, *options(named)]


def logged(root, run, kind):
    found = [json.loads(line) for line in (root / "runs" / run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def last(root, run):
    return load_checkpoint(root / "runs" / run / "checkpoints" / "last.pt")


@pytest.mark.parametrize("annotation", ["points", "scribbles", "boxes", "masks"])
def test_each_annotation_leaves_a_backbone_scores_and_a_page(root, annotation, capsys):
    assert main(words(annotation=annotation)) == 0
    assert "--backbone.weights runs/r" in capsys.readouterr().out
    backbone = build_backbone(BackboneConfig(weights="runs/r"))
    assert f"SPML (spml) on {annotation} of 3 pictures of camvid, from scratch, 3 steps" in backbone.pretrained_on
    train, val = logged(root, "r", "train"), logged(root, "r", "val")
    assert {"classifier", "sem_ann", "sem_ann_chance", "img_sim", "segments", "labelled", "embedding_std"} <= set(
        train[0]
    )
    assert [line["step"] for line in val] == [2, 3]
    scores = json.loads((root / "runs/r/scores.json").read_text())
    assert scores["classes"] == list(CLASSES)
    assert (root / "runs/r/classifier.safetensors").is_file()
    page = (root / "runs/r/index.html").read_text()
    assert "pedestrian" in page
    assert "slic" in page  # regions stand beside the numbers


def test_tags_become_labels_before_the_training_and_stay(root):
    small_camvid(root / "camvid", varied=True)
    assert main(words(annotation="tags")) == 0
    files = sorted((root / "runs/r/labels").iterdir())
    assert [file.name for file in files] == [f"train__train_{i}.png" for i in range(3)]
    made = [file.read_bytes() for file in files]
    assert (logged(root, "r", "train")[0]["labelled"]) > 0
    assert main(["pretrain", "spml", "--resume", "runs/r"]) == 0
    assert [file.read_bytes() for file in files] == made
    assert json.loads((root / "runs/r/scores.json").read_text())["retrieval"]["miou"] >= 0


def test_the_classifier_alone(root):
    assert main(words(relations="none")) == 0
    assert "sem_ann" not in logged(root, "r", "train")[0]
    assert json.loads((root / "runs/r/scores.json").read_text())["miou"] == logged(root, "r", "val")[-1]["miou"]
    assert not (root / "runs/r/classifier.safetensors").exists()
    assert "SPML (classifier)" in build_backbone(BackboneConfig(weights="runs/r")).pretrained_on


def test_a_stopped_run_ends_with_the_same_bits(root, monkeypatch):
    """The bank is part of the state: the second step contrasts with the first one's segments."""
    assert main(words("whole", spml__feat_aff=0.5)) == 0
    saved = RunFolder.save_last

    class Killed(BaseException):
        pass

    def die(run, state):
        saved(run, state)
        if state["step"] == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_last", die)
        with pytest.raises(Killed):
            main(words("cut", spml__feat_aff=0.5))
    steps = []
    step = Pretrainer.train_step
    monkeypatch.setattr(Pretrainer, "train_step", lambda self: steps.append(self.step) or step(self))
    assert main(["pretrain", "spml", "--resume", "runs/cut"]) == 0
    assert steps == [2]
    whole, cut = last(root, "whole"), last(root, "cut")
    for name, value in whole["method"].items():
        assert torch.equal(value, cut["method"][name]), name
    assert int(whole["method"]["bank.count"].min()) > 0
    assert logged(root, "whole", "val") == logged(root, "cut", "val")


def test_a_run_goes_on_with_the_same_marks_only(root, capsys):
    assert main(words()) == 0
    assert main(["pretrain", "spml", "--resume", "runs/r", "--marks.num_points", "2"]) == 2
    assert "marks.num_points (was 1, now 2)" in capsys.readouterr().err


def test_worker_processes_change_nothing(root):
    assert main(words("alone", optim__steps=2)) == 0
    assert main(words("helped", optim__steps=2, optim__workers=2)) == 0
    alone, helped = (last(root, name)["method"] for name in ("alone", "helped"))
    assert all(torch.equal(value, helped[name]) for name, value in alone.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"marks__num_pictures": 99}, "error: marks.num_pictures: got 99, expected 1 to 3"),
        ({"marks__folder": "absent"}, "annotations: no folder absent"),
        ({"val_split": "holiday"}, "error: val_split holiday: "),
        ({"val_split": "train"}, "val_split: got 'train', of whose 3 pictures 3 are also trained on"),
        ({"val_pictures": 4}, "val_pictures: got 4, expected 1 to 3"),
        ({"network": "unet-huge"}, "network 'unet-huge'"),
        ({"spml__grid": "[2]"}, "spml.grid: got [2], expected two numbers"),
        ({"spml__k_sem_ann": 50}, "spml.k_sem_ann: got 50.0, expected a number in (0, 40] or null"),
        ({"spml__dropout": 1}, "spml.dropout: got 1.0, expected a number in [0, 1)"),
        ({"annotation": "guesses"}, "expected one of masks, points"),
        ({"spml__regions": "none", "spml__img_sim": 0.1}, "spml.img_sim: got 0.1 with spml.regions none"),
        ({"views__scale": "[2, 1]"}, "views.scale: got [2.0, 1.0], expected the smallest and the largest factor"),
        ({"weights": "absent.pt"}, "absent.pt"),
        ({"annotation": "tags"}, "every class is on all of them or on none"),
        ({"optim__accumulate": 3}, "expected a multiple of 3"),
    ],
)
def test_bad_settings_end_in_one_line_and_leave_nothing(root, settings, message, capsys):
    assert main(words(**settings)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (root / "runs" / "r").exists()


def test_pictures_held_out_are_scored_and_not_trained_on(root):
    assert main(words(holdout=0.4)) == 0
    scores = json.loads((root / "runs/r/scores.json").read_text())
    assert scores["split"] == "train"
    assert "of 2 pictures of camvid" in build_backbone(BackboneConfig(weights="runs/r")).pretrained_on
    from pixgraph.pretrain.spml.finished import score_run

    again = score_run("runs/r", "val", device="cpu")
    assert (again["miou"], again["step"]) == (scores["miou"], 3)
    assert again["retrieval"]["classes"] == list(CLASSES)


@pytest.mark.parametrize(("spoil", "message"), SPOILED)
def test_data_that_cannot_serve_are_refused_before_the_run_exists(root, spoil, message, capsys):
    spoil(root / "camvid")
    assert main(words(val_pictures=3)) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1
    assert not (root / "runs").exists()


def test_no_data_is_told(capsys):
    assert main(["pretrain", "spml"]) == 2
    assert "data: got nothing, expected --data NAME:FOLDER" in capsys.readouterr().err
