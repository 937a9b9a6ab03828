"""The benchmarks of SPML: peers solve the same problem, and they run at their smallest."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "pretrain" / "spml"))
from small_camvid import options, small_camvid

from pixgraph.errors import ConfigError, RunError
from pixgraph.pretrain.spml.kmeans import spherical_kmeans


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts import each other as programs do; their folder is no package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    monkeypatch.delenv("PIXGRAPH_DATA", raising=False)


def script(name):
    return importlib.import_module(name)


def test_loops_give_the_same_segments_and_libraries_nearly_so():
    peers = script("kmeans_peers")
    x = script("speed_kmeans").make_maps({"batch": 2, "channels": 8, "side": 24, "device": "cpu"})
    ours = spherical_kmeans(x, None, (3, 3), 10)
    assert torch.equal(peers.loop_kmeans(x, (3, 3), 10), ours)
    assert float((peers.faiss_kmeans(x, (3, 3), 10) == ours).float().mean()) > 0.95
    assert float((peers.sklearn_kmeans(x, (3, 3), 10) == ours).float().mean()) > 0.8


@pytest.mark.parametrize("name", ["speed_kmeans", "spml_marks"])
def test_help_shows_the_command(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        script(name).main(["--help"])
    assert f"python benchmarks/{name}.py" in capsys.readouterr().out


def test_a_quick_run_writes_table_and_plot(tmp_path):
    script("speed_kmeans").main(["--quick", "--no_memory", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "speed_kmeans.json").read_text())
    assert [one["side"] for one in found["growth"]] == [8, 12]
    assert found["growth"][0]["found"]["loops over pictures and clusters"]["equal"] == 1
    text = (tmp_path / "speed_kmeans.md").read_text()
    assert "| 12 x 12 | faiss.Kmeans |" in text
    assert (tmp_path / "speed_kmeans.png").stat().st_size > 1000


def test_marks_are_trained_once_and_tabled(tmp_path):
    small_camvid(tmp_path / "camvid")
    marks = script("spml_marks")
    words = [
        "--data",
        str(tmp_path),
        "--annotations",
        "points",
        "--methods",
        "classifier",
        "spml+",
        "--runs",
        str(tmp_path / "runs"),
        "--out",
        str(tmp_path),
    ]
    marks.main([*words, "--seeds", "1", "--", *options({"optim.steps": 1, "marks.num_pictures": "null"})])
    with pytest.raises(RunError, match=r"optim.steps \(was 1, now 2\)"):
        marks.main([*words, "--seeds", "1", "--", *options({"optim.steps": 2, "marks.num_pictures": "null"})])
    marks.main([*words, "--seeds"])
    found = json.loads((tmp_path / "spml_camvid.json").read_text())["runs"]
    assert set(found) == {"camvid_points_classifier_1", "camvid_points_spml+_1"}
    text = (tmp_path / "spml_camvid.md").read_text()
    assert "| points, classifier |" in text
    assert "| points, spml+ |" in text
    assert "SLIC of scikit-image in place of HED-OWT-UCM" in text
    with pytest.raises(ConfigError, match="got no --data and no PIXGRAPH_DATA"):
        marks.main(["--seeds", "1"])
    with pytest.raises(ConfigError, match="got no finished run"):
        marks.main(["--seeds", "--runs", str(tmp_path / "none")])


def test_a_table_keeps_the_runs_of_an_earlier_one(tmp_path):
    tables = script("label_tables")
    path = tmp_path / "old.json"
    result = {"date": "new", "split": "val", "runs": {"b": {"miou": 0.3}}}
    with pytest.raises(ConfigError, match="expected an earlier table"):
        tables.with_kept(result, path)
    path.write_text(json.dumps({"date": "old", "split": "val", "runs": {"a": {"miou": 0.1}, "b": {"miou": 0.2}}}))
    assert tables.with_kept(result, path)["runs"] == {"a": {"tabled": "old", "miou": 0.1}, "b": {"miou": 0.3}}
    with pytest.raises(ConfigError, match="got split val; expected test"):
        tables.with_kept({**result, "split": "test"}, path)
