import json
import re

import pytest

from pixgraph.cli.main import main
from pixgraph.errors import ConfigError
from pixgraph.probe.config import chosen_levels

SMALL = [
    "--backbone.size=64",
    "--linear.pixels=600",
    "--linear.steps=20",
    "--retrieval.queries=3",
    "--retrieval.shown=4",
    "--retrieval.top=2",
    "--retrieval.segments=16",
    "--pictures=2",
    "--few_shot.episodes=2",
    "--graph.dilations=[1,2]",
]


@pytest.fixture
def probe(streets, capsys):
    """Runs an action on the streets; gives exit code and output."""

    def run(action, out, *more):
        words = [action, "--data.name", "camvid", "--data.root", str(streets), "--out", str(out), *SMALL, *more]
        code = main(["probe", *words])
        return code, capsys.readouterr()

    return run


def test_everything_ends_up_on_one_page(probe, tmp_path):
    code, printed = probe("all", tmp_path / "p", "--linear.seeds=2", "--linear.weighting=median")
    assert code == 0
    assert "linear probe, camvid/val: mIoU" in printed.out
    assert re.search(r"retrieval of segments: hit rate [\d.]+ %, chance [\d.]+ %", printed.out)
    assert "few-shot, camvid/val, 1-shot: mIoU % propagate" in printed.out
    results = json.loads((tmp_path / "p" / "probe.json").read_text())
    linear = results["linear"]
    assert linear["miou"] > linear["trivial"]["miou"] + 0.2
    assert len(linear["per_seed"]) == 2
    assert sum(map(sum, linear["confusion"])) == 2 * 3 * 48 * 61
    assert results["retrieval"]["pixels"]["pictures"] == 9
    assert set(results["retrieval"]["pixels"]["classes"]) <= {"sky", "road", "car"}
    page = (tmp_path / "p" / "index.html").read_text()
    assert f'data-value="{linear["miou"]!r}"' in page
    assert page.count("data:image/jpeg;base64,") == 4
    for words in ("Linear probe", "commonest class everywhere", "Retrieval of segments", "all-background", "chance %"):
        assert words in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_probes_of_one_embedding_share_a_folder(probe, tmp_path):
    assert probe("linear", tmp_path / "p")[0] == 0
    first = json.loads((tmp_path / "p" / "probe.json").read_text())
    assert probe("colors", tmp_path / "p")[0] == 0
    assert json.loads((tmp_path / "p" / "probe.json").read_text()) == first
    assert {"colors.jpg", "similarity.jpg"} <= {path.name for path in (tmp_path / "p").iterdir()}
    code, printed = probe("colors", tmp_path / "p", "--levels=[0]")
    assert code == 2
    assert "holds probes of filters" in printed.err
    assert "choose another --out" in printed.err


def test_a_probe_repeats_itself(probe, tmp_path):
    for name in ("a", "b"):
        words = ["--backbone.name=mobilenet_v3_small", "--backbone.weights=random", "--levels=[0]"]
        assert probe("linear", tmp_path / name, *words)[0] == 0
    one, other = (json.loads((tmp_path / name / "probe.json").read_text()) for name in ("a", "b"))
    assert one["embedding"] == other["embedding"]
    assert one["linear"]["confusion"] == other["linear"]["confusion"]


def test_few_shot_may_take_other_data(probe, streets, tmp_path):
    code, printed = probe("few-shot", tmp_path / "p", f"--few_shot.data=camvid:{streets}", "--few_shot.split=train")
    assert code == 0
    assert "camvid/train" in printed.out
    code, printed = probe("few-shot", tmp_path / "q", "--few_shot.data=camvidd:/nowhere")
    assert code == 2
    assert "expected NAME:FOLDER with a name of" in printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["linear", "--out", "p", "--levels=[9]"], "levels: got [9], expected different ones in -6..5"),
        (["linear"], "--out: missing"),
        (["lines", "--out", "p"], "got 'lines', expected one of linear, retrieval"),
        ([], "got 'nothing', expected one of linear"),
        (["linear", "--out", "p", "--linear.pixels=0"], "linear.pixels: got 0, expected at least 1"),
        (["linear", "--out", "p", "--linear.weighting=some"], "expected one of none, inverse, median"),
        (["retrieval", "--out", "p", "--retrieval.splits=[]"], "retrieval.splits: got an empty list"),
    ],
)
def test_wrong_words_are_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["probe", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_levels():
    assert chosen_levels([-1, 0], 4) == [3, 0]
    assert chosen_levels(None, 3) == [0, 1, 2]
    with pytest.raises(ConfigError, match=r"levels: got \[1, -2\], expected different ones in -3..2"):
        chosen_levels([1, -2], 3)


def test_help_names_the_settings(capsys):
    assert main(["probe", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--linear.weighting" in out
    assert "--retrieval.segments" in out


def test_the_training_split_is_scored_in_halves(probe, tmp_path):
    assert probe("linear", tmp_path / "p", "--split", "train")[0] == 0
    linear = json.loads((tmp_path / "p" / "probe.json").read_text())["linear"]
    assert (linear["train_split"], linear["split"]) == ("train, even pictures", "train, odd pictures")
    assert (linear["train_pictures"], linear["scored_pictures"]) == (3, 3)
