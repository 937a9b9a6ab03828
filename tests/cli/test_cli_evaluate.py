import csv
import json

import pytest

from pixgraph.cli.main import main

FAST = ["--backbone.size", "32", "--episodes", "3", "--seeds", "2", "--device", "cpu", "--graph.dilations", "[1]"]


@pytest.fixture
def data(shared_folder):
    return ["--data.name", "folder", "--data.root", str(shared_folder)]


def test_a_method_is_scored_beside_the_baselines(data, tmp_path, capsys):
    runs = tmp_path / "runs"
    argv = ["evaluate", "--method", "knn", *data, *FAST, "--runs", str(runs), "--name", "k", "--k_shot", "2"]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "folder/test, 1-way 2-shot, pixgraph-v1: 3 episodes x 2 seeds  (NOT the whole protocol)" in text
    for name in ("knn", "all-background", "prototype", "linear"):
        assert any(line.startswith(f"{name} ") for line in text.splitlines())
    assert f"run folder: {runs / 'k'}" in text
    summary = json.loads((runs / "k" / "summary.json").read_text())
    found = summary["evaluation"]
    assert (found["main"], found["k_shot"], found["seeds"]) == ("knn", 2, [0, 1])
    assert f"{100 * found['methods']['knn']['miou']:.2f}" in text
    assert json.loads((runs / "k" / "evaluations" / "test-1way-2shot-pixgraph-v1.json").read_text()) == found
    with (runs / "index.csv").open() as file:
        row = next(csv.DictReader(file))
    assert (row["run"], row["method"], row["test_miou"]) == ("k", "knn", f"{found['methods']['knn']['miou']:.4f}")
    assert (runs / "k" / "index.html").is_file()


def test_the_same_arguments_give_the_same_counts(data, tmp_path):
    for name in ("a", "b"):
        argv = ["evaluate", "--method", "prototype", *data, *FAST, "--runs", str(tmp_path), "--name", name]
        assert main([*argv, "--report", "false", "--baselines", "false"]) == 0
    one, two = (json.loads((tmp_path / n / "summary.json").read_text())["evaluation"] for n in ("a", "b"))
    assert one["episode_hash"] == two["episode_hash"]
    assert one["methods"]["prototype"]["per_seed"] == two["methods"]["prototype"]["per_seed"]
    assert set(one["methods"]) == {"prototype"}


def test_a_finished_evaluation_is_not_overwritten(data, fails, tmp_path, monkeypatch):
    argv = ["evaluate", "--method", "all-background", *data, *FAST, "--runs", tmp_path, "--name", "a"]
    argv += ["--report", "false"]
    assert main([str(a) for a in argv]) == 0
    monkeypatch.setattr("pixgraph.cli.evaluate.score", lambda _: pytest.fail("refused only after the work"))
    assert "exists already" in fails(*argv)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "expected either --run RUN_FOLDER or --method NAME"),
        (["--run", "nowhere", "--method", "knn"], "nowhere: does not exist"),
        (["--run", "nowhere"], "nowhere: does not exist; expected the folder of a run"),
        (["--run", __file__], "is a file; expected the folder of a run"),
        (["--method", "magic"], "method: got 'magic', expected one of graph, propagate, prototype"),
        (["--method", "graph"], "method 'graph' needs a trained run"),
        (["--method", "knn", "--protocol", "mine"], "protocol: got 'mine', expected one of pixgraph-v1"),
        (["--method", "knn", "--n_way", "9"], "got 1 classes"),
        (["--method", "knn", "--k_shot", "3"], "egg"),
        (["--method", "knn", "--episodes", "0"], "episodes: got 0, expected a whole number >= 1"),
        (["--method", "knn", "--seeds", "0"], "seeds: got 0, expected a whole number >= 1"),
        (["--method", "knn", "--split", "tset"], "--split: got 'tset', expected one of train, val, test, all"),
        (["--method", "knn", "--data.name", "pascal"], "data.name: got 'pascal', expected one of"),
        (["--method", "knn", "--device", "cuda:99"], "device: got 'cuda:99'"),
    ],
)
def test_wrong_arguments(fails, data, argv, words, tmp_path):
    assert words in fails("evaluate", *data, *FAST, "--runs", tmp_path, *argv)


def test_a_mirrored_method_stands_beside_the_plain_one_under_its_own_name(data, tmp_path, capsys):
    argv = ["evaluate", "--method", "prototype", *data, *FAST, "--runs", str(tmp_path), "--name", "m"]
    assert main([*argv, "--mirror", "true"]) == 0
    assert any(line.startswith("prototype, mirrored ") for line in capsys.readouterr().out.splitlines())
    found = json.loads((tmp_path / "m" / "evaluations" / "test-1way-1shot-pixgraph-v1-mirrored.json").read_text())
    assert next(iter(found["methods"])) == found["main"] == "prototype, mirrored"
    assert found["methods"]["prototype, mirrored"]["miou"] > found["methods"]["all-background"]["miou"] == 0
    assert "prototype" in found["methods"]
