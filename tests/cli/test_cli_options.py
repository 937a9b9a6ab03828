import re
import subprocess
import sys

import pytest
import yaml

from pixgraph.cli.main import COMMANDS, main
from pixgraph.cli.options import merge, parse
from pixgraph.cli.train import parse_train
from pixgraph.config import Config
from pixgraph.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(text, name="settings.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_options_win_over_files_and_later_files_over_earlier(write):
    first = write("train: {lr: 1e-4, steps: 5}\nseed: 3", "a.yaml")
    second = write("train: {steps: 6}", "b.yaml")
    config = parse(Config, "train", ["--seed", "4", "--config", str(first), "--config", str(second)])
    assert (config.train.lr, config.train.steps, config.seed) == (1e-4, 6, 4)
    assert config.graph == Config().graph


def test_lists_and_further_sources():
    config = parse(Config, "train", ["--graph.dilations", "[1,3]", "--extra", '[{"name": "camvid", "root": "x"}]'])
    assert config.graph.dilations == [1, 3]
    assert (config.extra[0].name, config.extra[0].weight) == ("camvid", 1.0)


def test_a_switch_needs_no_value():
    assert parse(Config, "train", ["--data.parts", "--seed", "1"]).data.parts
    assert parse(Config, "train", ["--data.parts"]).data.parts
    assert not parse(Config, "train", ["--model.evidence", "false"]).model.evidence


def test_print_config_gives_what_config_takes(capsys, write):
    assert main(["train", "--train.lr", "0.5", "--print_config"]) == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text)["train"]["lr"] == 0.5
    assert parse(Config, "train", ["--config", str(write(text))]).train.lr == 0.5


def test_one_file_serves_training_and_evaluation(write, fails):
    path = write("episodes: {k_shot: 5}\ntrain: {steps: 3}\nrun: x\ndata: {name: folder}\nextra: [{name: camvid}]")
    assert parse(Config, "train", ["--config", str(path)]).episodes.k_shot == 5
    # Evaluation reads the file and then misses the folder's root, which the file does not have.
    assert "data.root" in fails("evaluate", "--config", path, "--method", "knn")


WRONG = [
    (["--train.lr", "abc"], r"--train\.lr: got 'abc', expected a number > 0$"),
    (["--train.steps", "2.5"], r"--train\.steps: got '2\.5', expected a whole number >= 0$"),
    (["--train.ema", "1.0"], r"train\.ema: got 1\.0, expected a number in \[0, 1\)$"),
    (["--train.lr", "nan"], r"train\.lr: got 'nan', expected a number > 0$"),
    (["--episodes.label_fraction", "0"], r"episodes\.label_fraction: got 0\.0, expected a number in \(0, 1\]$"),
    (["--data.convention", "foo"], r"--data\.convention: got 'foo', expected one of interleaved, contiguous$"),
    (["--graph.dilations", "[0]"], r"graph\.dilations: got \[0\], expected a list of: a whole number >= 1$"),
    (["--graph.dilations", "[40]"], r"graph\.dilations: got 40, expected less than the 32 nodes of a side"),
    (["--model.heads", "5"], r"model\.width: got 64, expected a multiple of model\.heads = 5$"),
    (["--device", "gpu"], r"device: got 'gpu', expected auto, cpu, cuda, cuda:INDEX or mps$"),
    (["--seed", "-1"], r"seed: got -1, expected a whole number in \[0, 4294967295\]$"),
    (["--n_way", "2"], r"unknown option --n_way; did you mean --episodes\.n_way\?$"),
    (["--train.lrr", "3"], r"unknown option --train\.lrr; did you mean --train\.lr\?$"),
    (["--frobnicate"], r"unknown option --frobnicate; see pixgraph train --help$"),
    (["--train.steps"], r"--train\.steps: expected one argument"),
    (["--graph", "null"], r"--graph: got 'null', expected a mapping of settings"),
    (["--config"], r"--config: expected the path of a YAML file"),
    (["--data.root", "[1]", "--data.weight", "x"], r"--data\.weight: got 'x', expected a number > 0$"),
    (["--config", "nowhere.yaml"], r"nowhere\.yaml: No such file or directory; expected a YAML file"),
    (["--resume"], r"--resume: nothing says which run; expected --resume RUN_FOLDER, or --run NAME"),
    (["--resume", "runs/nowhere"], r"runs/nowhere: does not exist; expected the folder of a run"),
]


@pytest.mark.parametrize(("argv", "words"), WRONG, ids=[" ".join(argv) for argv, _ in WRONG])
def test_wrong_options_are_explained_in_one_line(fails, argv, words):
    assert re.search(words, fails("train", *argv))


FILES = [
    ("train:\n  lrr: 1", r"settings\.yaml:2: train\.lrr: unknown key \(value 1\); did you mean 'train\.lr'\?"),
    ("sed: 1", r"settings\.yaml:1: sed: unknown key \(value 1\); did you mean 'seed'\?"),
    ("seed: 1\ntrain:\n  steps: 3\n  lr: -1", r"settings\.yaml:4: train\.lr: got -1\.0, expected a number > 0"),
    ("extra:\n- name: a\n- fold: 9\n", r"settings\.yaml:3: extra\.fold: got 9, expected a whole number in \[0, 3\]"),
    ("train: 3", r"settings\.yaml:1: train: expected a mapping of settings, got 3"),
    ("train:", r"settings\.yaml:1: train: expected a mapping of settings, got None"),
    ("train: {steps: yes}", r"train\.steps: got True, expected a whole number >= 0"),
    ("a: [1\nb: 2", r"settings\.yaml:2: not YAML"),
    ("- 1", r"settings\.yaml: expected 'key: value' settings, got list"),
    ("1: 2", r"settings\.yaml:1: 1: unknown key \(value 2\); known here: "),
    ("null: 2", r"settings\.yaml:1: None: unknown key \(value 2\); known here: "),
    ("train: {1: 2}", r"settings\.yaml:1: train\.1: unknown key \(value 2\); known here: "),
    ("[" * 5000, r"settings\.yaml: got brackets within brackets without end, expected YAML settings"),
    ("seed: 1\ndevice: cpu\nseed: 2", r"settings\.yaml:3: seed: got it twice, first in line 1, expected it once"),
    ("extra:\n- {name: a, name: b}", r"settings\.yaml:2: name: got it twice, first in line 2"),
    ("extra: &x [*x]", r"settings\.yaml:1: extra: expected a mapping of settings"),
    ("\x00", r"settings\.yaml.*not YAML"),
]


@pytest.mark.parametrize(("text", "words"), FILES, ids=[repr(text)[:24] for text, _ in FILES])
def test_wrong_files_are_explained_with_their_line(fails, write, text, words):
    assert re.search(words, fails("train", "--config", write(text)))
    assert re.search(words, fails("evaluate", "--config", write(text), "--method", "knn"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("backbone: null", r"backbone: unknown key \(value None\); known here: .*views"),
        ("optim: null", r"optim: expected a mapping of settings, got None"),
        ("seed: null", r"seed: got None, expected a whole number"),
    ],
)
def test_files_of_one_command_alone_hint_at_keys_that_it_takes(fails, write, text, words):
    message = fails("pretrain", "reco", "--config", write(text))
    assert re.search(words, message)
    assert "graph," not in message


def test_an_empty_file_changes_nothing(write):
    assert parse(Config, "train", ["--config", str(write(""))]) == Config()


def test_resume_takes_the_settings_of_the_run(tmp_path):
    run = tmp_path / "mine"
    run.mkdir()
    (run / "config.yaml").write_text("train: {steps: 7}\nruns: elsewhere\nrun: old")
    config, resume = parse_train(["--resume", str(run), "--device", "cpu"])
    assert resume
    assert (config.train.steps, config.runs, config.run, config.device) == (7, str(tmp_path), "mine", "cpu")
    config, resume = parse_train(["--runs", str(tmp_path), "--run", "mine", "--resume"])
    assert (resume, config.train.steps, config.run) == (True, 7, "mine")


def test_a_run_is_resumed_from_within(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("train: {steps: 7}")
    monkeypatch.chdir(tmp_path / "mine")
    config, _ = parse_train(["--resume", "."])
    assert (config.runs, config.run) == (str(tmp_path), "mine")


def test_merge_keeps_what_the_other_does_not_name():
    settings = {"a": {"b": 1, "c": 2}, "d": 3}
    merge(settings, {"a": {"c": 4}, "d": {"e": 5}})
    assert settings == {"a": {"b": 1, "c": 4}, "d": {"e": 5}}


def test_unknown_command(fails):
    assert "unknown command 'trian'; expected one of pretrain, train, evaluate" in fails("trian")


def test_no_command_shows_the_usage(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    assert main(["--version"]) == 0


@pytest.mark.parametrize("command", [*COMMANDS, "data check", "data show"])
def test_help_explains_the_options(capsys, command):
    assert main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: pixgraph {command}")
    if command == "train":
        assert "Peak learning rate of AdamW." in text
        assert "Go on with a run" in text


def test_errors_beyond_the_user_keep_their_traceback(monkeypatch):
    import pixgraph.cli.demo

    def broken(argv):
        raise RuntimeError("a defect")

    monkeypatch.setattr(pixgraph.cli.demo, "run", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["demo"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "runs/x"), "runs/x: No space left on device; free some space"),
        (OSError(21, "Is a directory", "a/.s7.20.tmp", None, "a/s7"), "error: a/s7: Is a directory; name a file in it"),
        (OSError(13, "Permission denied", "a/.s7.png.20355.tmp"), "error: a/s7.png: Permission denied; choose a place"),
        (OSError(20, "Not a directory", "file/x"), "file/x: Not a directory; a part of this path is a file"),
        (OSError(5, "Input/output error"), "system: Input/output error; check the path and the disk"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory: take a smaller backbone.size"),
        (MemoryError(), "out of memory: take a smaller backbone.size"),
        (ConfigError("two\nlines"), "pixgraph: error: two lines"),
        (SystemExit("said in passing"), "said in passing"),
    ],
)
def test_errors_of_the_machine_take_one_line(monkeypatch, fails, error, words):
    import pixgraph.cli.demo

    def broken(argv):
        raise error

    monkeypatch.setattr(pixgraph.cli.demo, "run", broken)
    assert words in fails("demo")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143), (SystemExit(), 0)])
def test_signals_keep_their_exit_code(monkeypatch, error, code):
    import pixgraph.cli.demo

    def stopped(argv):
        raise error

    monkeypatch.setattr(pixgraph.cli.demo, "run", stopped)
    assert main(["demo"]) == code


def test_program_imports_nothing_heavy():
    code = (
        "import sys, pixgraph, pixgraph.config, pixgraph.errors, pixgraph.cli.main as m; m.main(['--help']);"
        "from pixgraph.cli import data, demo, evaluate, predict, study, train;"
        "heavy = {'torch', 'dgl', 'faiss', 'skimage', 'matplotlib', 'torchvision', 'scipy', 'optuna', 'pandas'};"
        "heavy &= set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_module_ends_with_the_exit_code():
    done = subprocess.run([sys.executable, "-m", "pixgraph", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("pixgraph: error: unknown command 'nonsense'")
