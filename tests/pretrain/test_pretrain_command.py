import json

import pytest
import torch
from PIL import Image
from tiny_pretraining import write_pictures

from pixgraph.backbones.build import build_backbone
from pixgraph.cli.main import main
from pixgraph.config import BackboneConfig

SIZE = ["--views.size", "32"]
SMALL = [
    *("--backbone", "unet-small", "--views.size", "32", "--optim.steps", "2", "--optim.batch", "2", "--device", "cpu"),
    *("--pixel.projection", "6", "--pixel.hidden", "6", "--pixel.reach", "8", "--pixel.intersect_limit", "16"),
]


@pytest.fixture
def root(tmp_path, monkeypatch):
    write_pictures(tmp_path / "pictures", count=4, side=40)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words):
    return main(["pretrain", *words])


@pytest.mark.parametrize("method", ["pixpro", "pixcontrast", "pixpro_full"])
def test_a_method_leaves_a_backbone_that_names_its_making(root, method, capsys):
    assert command(method, "--data", "pictures", "--run", "r", *SMALL) == 0
    assert "--backbone.weights runs/r" in capsys.readouterr().out
    backbone = build_backbone(BackboneConfig(weights="runs/r"))
    assert backbone.name == "unet-small"
    assert "on 4 pictures of pictures, 2 steps of 2, from scratch" in backbone.pretrained_on
    assert all(torch.isfinite(m).all() for m in backbone(torch.rand(1, 3, 32, 32)))
    lines = [json.loads(line) for line in (root / "runs/r/metrics.jsonl").read_text().splitlines()]
    assert {"loss", f"{method.removesuffix('_full')}_chance", "embedding_std", "embedding_rank", "positives"} <= set(
        lines[0]
    )
    with Image.open(root / "runs/r/pairs.png") as drawn:
        assert drawn.width > drawn.height / 4
    page = (root / "runs/r/index.html").read_text()
    assert "Positive pairs of the two views" in page
    assert "embedding rank" in page
    assert "finished" in page


def test_a_run_goes_on_from_another_ones_weights_and_resumes(root):
    assert command("pixpro", "--data", "pictures", "--run", "a", *SMALL) == 0
    assert command("pixpro", "--data", "pictures", "--run", "b", *SMALL, "--weights", "runs/a") == 0
    assert "from a" in build_backbone(BackboneConfig(weights="runs/b")).pretrained_on
    assert command("pixpro", "--resume", "runs/b") == 0
    assert command("pixpro", "--resume", "--run", "b") == 0


@pytest.mark.parametrize(
    "words",
    [["--data", "pictures", "more"], ["--data=pictures", "--data", "more"], ["--data=[pictures, more]"]],
)
def test_folders_are_named_in_any_way(root, words):
    write_pictures(root / "more", count=2, side=40)
    assert command("pixpro", *words, "--run", "r", *SMALL) == 0
    assert json.loads((root / "runs/r/summary.json").read_text())["pictures"] == 6


def test_the_help_names_the_methods_and_their_options(capsys):
    assert command("--help") == 0
    listed = capsys.readouterr().out
    assert listed.startswith("usage: pixgraph pretrain METHOD")
    assert all(f"  {name} " in listed for name in ("pixpro", "pixcontrast", "pixpro_full", "reco", "spml", "pairs"))
    assert command("pixcontrast", "--help") == 0
    assert "--pixel.temperature" in capsys.readouterr().out


def test_full_resolution_has_a_unet_unless_told_otherwise(capsys):
    words = ["pixpro_full", "--data", "pictures", "--print_config"]
    assert command(*words) == 0
    assert "backbone: unet\n" in capsys.readouterr().out
    assert command(*words, "--backbone", "unet-small") == 0
    assert "backbone: unet-small\n" in capsys.readouterr().out
    assert command("pixpro_full", "--help") == 0
    assert "default: unet)" in " ".join(capsys.readouterr().out.split())


def test_pairs_are_drawn(root):
    assert command("pairs", "--data", "pictures", "--views.size", "32", "--out", "drawn.png") == 0
    with Image.open("drawn.png") as drawn:
        assert min(drawn.size) > 32


def test_a_config_file_gives_the_settings_and_is_checked(root, capsys):
    (root / "c.yaml").write_text(
        "data: [pictures]\nbackbone: unet-small\nviews: {size: 32}\noptim: {steps: 1, batch: 2}\n"
    )
    assert command("pixpro", "--config", "c.yaml", "--print_config") == 0
    assert "size: 32" in capsys.readouterr().out
    (root / "c.yaml").write_text("data: [pictures]\noptim:\n  stepss: 1\n")
    assert command("pixpro", "--config", "c.yaml") == 2
    assert "c.yaml:3: optim.stepss: unknown key (value 1); did you mean 'optim.steps'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "got no method, expected one of pixpro"),
        (["simclr"], "got 'simclr', expected one of pixpro"),
        (["pixpro"], "data: got nothing, expected --data FOLDER"),
        (["pixpro", "--data", "absent"], "no folder absent"),
        (["pixpro", "--data=[absent"], "data: got '[absent', expected a folder, or a list"),
        (["pixpro", "--data", "pictures", *SIZE, "--backbone", "resnet19"], "'resnet19'"),
        (["pixpro", "--data", "pictures", *SIZE, "--backbone", "resnet18", "--layer", "layer9"], "has no 'layer9'"),
        (
            ["pixpro", "--data", "pictures", "--views.size", "4"],
            "views.size: got 4, expected a whole number in [8, 4096]",
        ),
        (["pixpro", "--data", "pictures", *SMALL, "--views.size", "40"], "expected multiples of 16"),
        (["pixpro", "--data", "pictures", *SMALL, "--views.size", "64"], "at most 40 pixels, expected 64"),
        (["pixpro", "--data", "pictures", *SMALL, "--optim.accumulate", "3"], "expected a multiple of 3"),
        (["pixpro", "--data", "pictures", *SMALL, "--weights", "absent.pt"], "absent.pt"),
        (["pixpro", "--data", "pictures", "--device", "cuda:99"], "cuda"),
        (["pixpro", "--resume"], "nothing says which run"),
        (["pixpro", "--resume", "runs/absent"], "runs/absent"),
    ],
)
def test_bad_input_ends_in_one_line_and_code_2(root, words, message, capsys):
    assert command(*words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (root / "runs").exists() or not any((root / "runs").glob("*/checkpoints/*"))


def test_a_run_that_cannot_start_leaves_its_name_free(root, capsys):
    words = ["pixpro_full", "--data", "pictures", "--backbone", "mobilenet_v2", *SIZE, "--run", "r"]
    assert command(*words) == 2
    assert "take a UNet, larger views, or a smaller limit" in capsys.readouterr().err
    assert not (root / "runs" / "r").exists()
    assert "r," not in (root / "runs" / "index.csv").read_text()
    assert command("pixpro", "--data", "pictures", *SMALL, "--run", "r") == 0


def test_broken_pictures_are_named_and_a_few_do_not_stop_the_run(root, capsys):
    (root / "pictures" / "9.png").write_bytes(b"\x89PNG broken")
    assert command("pixpro", "--data", "pictures", *SMALL, "--optim.steps", "5") == 2
    assert "got 1 unreadable of 5" in capsys.readouterr().err
    assert command("pixpro", "--data", "pictures", *SMALL, "--optim.steps", "5", "--broken_limit", "0.5") == 0
    assert capsys.readouterr().err.count("9.png") == 1


def test_weights_of_another_network_are_refused(root, capsys):
    assert command("pixpro", "--data", "pictures", "--run", "a", *SMALL) == 0
    assert command("pixpro", "--data", "pictures", *SIZE, "--backbone", "resnet18", "--weights", "runs/a") == 2
    assert "unet-small" in capsys.readouterr().err
