import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from spoiled_camvid import SPOILED
from tiny_reco import write_camvid

from pixgraph.backbones.build import build_backbone
from pixgraph.cli.main import main
from pixgraph.config import BackboneConfig
from pixgraph.pretrain.reco.scoring import score_run
from pixgraph.training.checkpoint import load_checkpoint

SMALL = [
    *("--network", "unet-small", "--weights", "random", "--embedding", "8", "--views.size", "32", "--device", "cpu"),
    *("--batch-size", "2", "--reco-num-queries", "8", "--reco-num-negatives", "16", "--num-labeled", "3"),
    *("--val-interval", "2", "--optim.log_every", "1", "--optim.workers", "0", "--iterations", "3"),
]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(camvid, *words):
    return main(["pretrain", "reco", "--data", f"camvid:{camvid}", *SMALL, *words])


def lines(run, kind):
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        ([], {"supervised"}),
        (["--mixing-strategy", "classmix"], {"supervised", "unsupervised"}),
        (["--mixing-strategy", "cutmix", "--reco"], {"supervised", "unsupervised", "reco"}),
        (["--label-ratio", "p5", "--mixing-strategy", "classmix", "--reco"], {"supervised", "unsupervised", "reco"}),
        (["--label-ratio", "p0"], {"supervised"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_the_pipelines_of_the_seed(camvid, root, words, terms, capsys):
    assert command(camvid, "--run", "r", *words) == 0
    assert "--backbone.weights runs/r" in capsys.readouterr().out
    run = root / "runs" / "r"
    train = lines(run, "train")
    assert len(train) == 3
    assert {key for key in train[0] if key in ("supervised", "unsupervised", "reco")} == terms
    assert [line["step"] for line in lines(run, "val")] == [2, 3]
    choice = json.loads((run / "labels.json").read_text())
    assert len(choice["pictures"]) == 3
    summary = json.loads((run / "summary.json").read_text())
    assert summary["labels_hash"] == choice["hash"]
    assert summary["state"] == "finished"
    scores = json.loads((run / "scores.json").read_text())
    assert scores["miou"] == pytest.approx(lines(run, "val")[-1]["miou"])
    assert len(scores["iou"]) == 11
    backbone = build_backbone(BackboneConfig(weights=str(run)))
    assert "on 3 labels" in backbone.pretrained_on
    assert "of 6 pictures of camvid, from scratch, 3 steps" in backbone.pretrained_on


def scores_of(root):
    return json.loads((root / "runs" / "r" / "scores.json").read_text())


def test_the_backbone_is_the_teacher(camvid, root):
    assert command(camvid, "--run", "r", "--mixing", "classmix") == 0
    state = load_checkpoint(root / "runs/r/checkpoints/last.pt")["method"]
    backbone = build_backbone(BackboneConfig(weights="runs/r"))
    own = backbone.network.state_dict()
    assert all(torch.equal(value, state[f"teacher.network.network.{key}"]) for key, value in own.items())
    assert not torch.equal(own["up.0.weight"], state["student.network.up.0.weight"])
    scores = score_run("runs/r", "test")
    assert scores["split"] == "test"
    assert scores["step"] == 3
    assert score_run("runs/r", "val")["miou"] == pytest.approx(scores_of(root)["miou"])


def test_a_run_starts_from_anothers_weights(camvid, root):
    assert command(camvid, "--run", "a") == 0
    assert command(camvid, "--run", "b", "--weights", "runs/a") == 0
    assert "from a, 3 steps" in build_backbone(BackboneConfig(weights="runs/b")).pretrained_on


class CutError(Exception):
    """A stop in the middle of a step."""


def weights(root, name):
    state = load_checkpoint(root / "runs" / name / "checkpoints" / "last.pt")
    return state["step"], state["method"]


def test_a_resumed_run_is_the_same_to_the_bit(camvid, root, monkeypatch):
    from pixgraph.pretrain.reco.method import ReCo

    words = ["--mixing", "classmix", "--reco", "--save-interval", "1", "--conf-thresh", "0.1"]
    assert command(camvid, "--run", "whole", *words) == 0
    real = ReCo.after_step

    def cut(self, step, steps):
        if step == 2:
            raise CutError
        return real(self, step, steps)

    monkeypatch.setattr(ReCo, "after_step", cut)
    with pytest.raises(CutError):
        command(camvid, "--run", "cut", *words)
    monkeypatch.setattr(ReCo, "after_step", real)
    assert weights(root, "cut")[0] == 2
    assert main(["pretrain", "reco", "--resume", "runs/cut"]) == 0
    (step, one), (other_step, other) = weights(root, "whole"), weights(root, "cut")
    assert step == other_step == 3
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    kept = [[(v["step"], v["miou"]) for v in lines(root / "runs" / name, "val")] for name in ("whole", "cut")]
    assert kept[0] == kept[1]


def test_workers_change_nothing(camvid, root):
    words = ["--mixing", "cutmix", "--label-ratio", "p1"]
    assert command(camvid, "--run", "none", *words) == 0
    assert command(camvid, "--run", "two", *words, "--optim.workers", "2") == 0
    one, other = weights(root, "none")[1], weights(root, "two")[1]
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_page_shows_scores_and_pictures(camvid, root):
    assert command(camvid, "--run", "r", "--mixing", "classmix", "--reco") == 0
    page = (root / "runs/r/index.html").read_text()
    for text in ("The teacher on camvid/val: 3 pictures", "IoU %", "bicyclist", "Pseudo labels on unlabelled pictures"):
        assert text in page
    for text in ("confidence of the teacher", "confidence &gt;= 0.7", "unsupervised", "Validation", "reco"):
        assert text in page
    pictures = re.findall(r'src="data:image/(?:jpeg|png);base64,([^"]+)"', page)
    assert len(pictures) == 1 + 3 * 4 + 3 * 4
    with Image.open(io.BytesIO(base64.b64decode(pictures[-1]))) as last:
        assert np.asarray(last).std() > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num-labeled", "7"], "error: labels.num_labeled: got 7, expected 1 to 6"),
        (["--labels.min_classes", "99"], "error: labels.min_classes: got 99, expected 1 to the 11 classes"),
        (["--val_split", "holdout"], "got split 'holdout', expected one of train, val, test"),
        (["--val_split", "train"], "val_split: got 'train', of whose 6 pictures 6 are also trained on"),
        (["--val_pictures", "4"], "val_pictures: got 4, expected 1 to 3, the labelled pictures of camvid (val)"),
        (["--network", "vit"], "'vit': cannot be trained to segment"),
        (["--network", "unet"], "unet has no ImageNet weights"),
        (["--weights", "absent.pt"], "absent.pt: no such file"),
        (["--data", "camvid:absent"], "absent"),
        (["--data", "absent"], "got 'absent', expected NAME:FOLDER"),
        (["--label-ratio", "p3"], "expected one of p0, p1, p5, p25"),
        (["--device", "cuda:99"], "cuda"),
        (["--optim.accumulate", "3"], "expected a multiple of 3"),
        (["--resume", "runs/absent"], "runs/absent"),
    ],
)
def test_bad_input_ends_in_one_line_and_code_2(camvid, root, words, message, capsys):
    more = [] if words[0] != "--network" or words[1] == "vit" else ["--weights", "imagenet"]
    assert command(camvid, *words, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (root / "runs").exists()


def test_a_run_does_not_go_on_with_other_labels(camvid, root, capsys):
    assert command(camvid, "--run", "r", "--save-interval", "1") == 0
    assert main(["pretrain", "reco", "--resume", "runs/r", "--label-ratio", "p1"]) == 2
    assert "labels.ratio" in capsys.readouterr().err


@pytest.mark.parametrize(("spoil", "words"), SPOILED)
def test_data_that_cannot_serve_are_refused_before_the_run_exists(root, spoil, words, capsys):
    spoil(write_camvid(root / "own"))
    assert command(root / "own", "--run", "r") == 2
    error = capsys.readouterr().err
    assert re.search(words, error)
    assert error.count("\n") == 1
    assert not (root / "runs").exists()
