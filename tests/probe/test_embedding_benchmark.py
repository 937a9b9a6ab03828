import functools
import importlib
import json
from pathlib import Path

import pytest

from pixgraph.data import catalog
from pixgraph.data.synthetic import SyntheticShapes
from pixgraph.errors import ConfigError, DataError
from pixgraph.pretrain.encoders import build_encoder, save_backbone


@functools.cache
def generated(split):
    return SyntheticShapes(split, size=64, n_pictures=36)


@pytest.fixture
def bench(streets, tmp_path, monkeypatch):
    """Runs the benchmark on the streets and on generated shapes; gives the JSON that it wrote."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.delenv("PIXGRAPH_DATA", raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "camvid").symlink_to(streets)
    opened = catalog.open_dataset

    def small(source, split):
        return generated(split) if source.name == "synthetic" else opened(source, split)

    monkeypatch.setattr(catalog, "open_dataset", small)
    script = importlib.import_module("embedding")

    def run(*words):
        quick = ["--few_shot_on", "synthetic", "--size", "64", "--seeds", "2", "--episodes", "2", "--pixels", "300"]
        assert script.main(["--data", str(tmp_path / "data"), "--out", str(tmp_path), *quick, *words]) == 0
        return json.loads((tmp_path / "embedding.json").read_text())

    return run


def test_embeddings_stand_side_by_side_and_stay(bench, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    save_backbone(build_encoder("mobilenet_v3_small", "random", "features.3"), run, "pebbles")
    first = bench("--embeddings", "filters", str(run))
    rows = first["embeddings"]
    assert rows["filters"]["linear"][0] > rows["filters"]["per_seed"][0]["trivial"] + 0.1
    assert rows[str(run)]["pretrained_on"] == "pebbles"
    second = bench("--embeddings", "filters", "random:mobilenet_v3_small@features.3")
    assert second["embeddings"]["filters"] == rows["filters"]  # not measured again
    random = second["embeddings"]["random:mobilenet_v3_small@features.3"]
    assert random["channels"] == rows[str(run)]["channels"]
    assert random["per_seed"][0]["linear"] != random["per_seed"][1]["linear"]
    text = (tmp_path / "embedding.md").read_text()
    for words in ("commonest class", "pebbles", "few-shot", "linear probe, IoU", "prototype"):
        assert words in text
    assert (tmp_path / "embedding.png").stat().st_size > 1000


def test_other_settings_need_another_name(bench):
    bench("--embeddings", "filters", "--seeds", "1")
    with pytest.raises(DataError, match="made with other settings; remove it, or give another --name"):
        bench("--embeddings", "filters", "--seeds", "1", "--k_shot", "2")
    with pytest.raises(ConfigError, match="--embeddings nowhere: no such run; expected a folder, random:NAME"):
        bench("--embeddings", "nowhere", "--seeds", "1")


def test_help_shows_the_command(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module("embedding").main(["--help"])
    assert "python benchmarks/embedding.py" in capsys.readouterr().out
