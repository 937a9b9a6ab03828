import re
from pathlib import Path

import pytest

from pixgraph.cli.evaluate import parse_evaluate
from pixgraph.cli.options import parse
from pixgraph.cli.predict import parse_predict
from pixgraph.cli.pretrain import parse_pretrain
from pixgraph.cli.pretrain_reco import parse_reco
from pixgraph.cli.pretrain_spml import parse_spml
from pixgraph.config import Config
from pixgraph.data.catalog import dataset_names

CONFIGS = Path(__file__).parents[2] / "configs"
WITH_LABELS = {"pretrain-reco": parse_reco, "pretrain-spml": parse_spml}
PRETRAINING = sorted(CONFIGS.glob("pretrain-*.yaml"))
DATA = sorted({*CONFIGS.glob("*.yaml"), CONFIGS / "propagate.yaml"} - {CONFIGS / "propagate.yaml", *PRETRAINING})
METHOD = str(CONFIGS / "propagate.yaml")


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_each_config_trains_evaluates_and_predicts(path):
    config = parse(Config, "train", ["--config", str(path)])
    assert config.data.name == path.stem
    options = parse_evaluate(["--config", str(path), "--config", METHOD])
    assert (options.data, options.backbone, options.graph) == (config.data, config.backbone, config.graph)
    assert options.method == "propagate"
    folders = ["--support", "s", "--query", "q", "--out", "o"]
    assert parse_predict(["--config", str(path), *folders]).backbone == config.backbone


@pytest.mark.parametrize(
    "path", [path for path in PRETRAINING if path.stem not in WITH_LABELS], ids=lambda path: path.stem
)
def test_each_config_of_a_pretraining_is_understood(path):
    method = "pixcontrast" if "contrast" in path.stem else "pixpro_full" if "full" in path.stem else "pixpro"
    config, _ = parse_pretrain(method, ["--config", str(path), "--data", "pictures"])
    assert (config.method, config.data) == (method, ["pictures"])
    assert config.optim.steps > 100


@pytest.mark.parametrize("name", WITH_LABELS)
def test_each_config_of_a_training_from_few_labels_is_understood(name):
    config, _ = WITH_LABELS[name](["--config", str(CONFIGS / f"{name}.yaml"), "--data", "camvid:data/camvid"])
    assert config.data == "camvid:data/camvid"
    assert config.optim.steps > 100


def test_every_large_data_set_has_a_config():
    # The microscopy sets are sources of further episodes, not benchmarks.
    assert {path.stem for path in DATA} == set(dataset_names()) - {"nuclei", "blood_cells"}


@pytest.mark.parametrize("path", [*DATA, *PRETRAINING, Path(METHOD)], ids=lambda path: path.stem)
def test_each_config_says_how_to_use_it(path):
    text = path.read_text()
    assert re.search("^#   .*pixgraph ", text, re.MULTILINE)
    assert path.name == "propagate.yaml" or "# Reached" in text
