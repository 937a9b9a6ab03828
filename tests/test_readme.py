"""What the README says is true: its commands and Python blocks run on tiny data, its tables match the code."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent / "pretrain" / "spml"))
from small_camvid import small_camvid

from pixgraph.cli.main import COMMANDS, main
from pixgraph.config import GraphConfig
from pixgraph.data.catalog import dataset_names
from pixgraph.data.protocols import PROTOCOLS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")}

ADE_CLASSES = {"train": ("bench", "lamp", "rug"), "val": ("desk",), "test": ("bed", "van")}
OWN_CLASSES = ("apple", "bread", "cup", "dish", "egg")
PICTURES = 7  # a class: two queries and five supports

SMALL = [
    *("--backbone.name", "filters", "--backbone.size", "64", "--backbone.cache", "null", "--device", "cpu"),
    *("--graph.num_fg", "8", "--graph.num_bg", "8", "--graph.dilations", "[1, 2]"),
]
"""Appended to a command, so that it takes a second and no download; later options win."""
SHORT = ["--train.steps", "1", "--train.batch", "1", "--train.warmup", "0", "--train.augment", "1"]
SHORT += [
    "--train.val_episodes",
    "1",
    "--model.width",
    "8",
    "--model.decoder_blocks",
    "1",
    "--model.encoder_blocks",
    "1",
]
TINY_PRETRAINING = [
    *("--backbone", "unet-small", "--views.size", "32", "--optim.steps", "2", "--optim.batch", "4", "--device", "cpu"),
    *("--pixel.projection", "8", "--pixel.hidden", "8", "--pixel.reach", "8"),
]
"""Maps of 32 x 32: every pair of cells of four pictures."""
TINY_SEGMENTATION = [
    *("--network", "unet-small", "--weights", "random", "--embedding", "8", "--views.size", "32", "--device", "cpu"),
    *("--optim.steps", "1", "--optim.batch", "2"),
]
TINY_PROBE = [
    *("--backbone.size", "64", "--linear.pixels", "500", "--linear.steps", "3", "--retrieval.queries", "1"),
    *("--pictures", "1", "--few_shot.episodes", "1", "--graph.dilations", "[1, 2]"),
]
ONE_TRIAL = ["--trials", "1", "--workers", "1", "--seeds", "1", "--episodes", "1"]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str = README) -> list[list[str]]:
    lines = [line for block in blocks("bash", text) for line in block.splitlines() if line]
    return [[word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)] for line in lines]


def pixgraph_arguments(words: list[str]) -> list[str]:
    """The arguments after ``pixgraph``, also of ``torchrun ... -m pixgraph ...``."""
    return words[words.index("pixgraph") + 1 :]


def shortened(argv: list[str]) -> list[str]:
    """The same command on less."""
    command, trained = argv[0], "--run" in argv or "--checkpoint" in argv
    if command == "train":
        return argv if "--resume" in argv else [*argv, *SMALL, *SHORT]
    if command == "evaluate":
        report = [] if trained else [*SMALL, "--report", "false"]
        return [*argv, *report, "--episodes", "1", "--seeds", "1"]
    if command == "pretrain":
        if argv[1] in ("reco", "spml"):
            pictures = ["--marks.num_pictures", "20"] if argv[1] == "spml" else []
            return [*argv, *TINY_SEGMENTATION, *pictures]
        if argv[1] == "pairs":
            return [*argv, "--views.size", "32"]
        return argv if "--resume" in argv else [*argv, *TINY_PRETRAINING]
    if command == "probe":
        return [*argv, *TINY_PROBE]
    if command == "study":
        return [*argv, *SMALL, *("--backbone.size", "128"), *ONE_TRIAL]
    if "--backbone.weights" in argv:
        return [*argv, "--backbone.size", "64", "--device", "cpu"]
    return argv if command != "predict" or trained else [*argv, *SMALL]


def draw(seed: int, size: tuple[int, int] = (40, 48)) -> tuple[Image.Image, np.ndarray]:
    """A bright square on noise, and its mask of 0 and 1."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 120, (*size, 3), dtype=np.uint8)
    mask = np.zeros(size, np.uint8)
    top, left = rng.integers(1, size[0] - 26), rng.integers(1, size[1] - 26)
    mask[top : top + 24, left : left + 24] = 1
    rgb[mask == 1] = rng.integers(120, 256, 3)
    return Image.fromarray(rgb), mask


def save(folder: Path, image: str, mask: str, seed: int, factor: int = 255) -> np.ndarray:
    for path in (folder / image, folder / mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    picture, truth = draw(seed)
    picture.save(folder / image)
    Image.fromarray(truth * np.uint8(factor)).save(folder / mask)
    return truth


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with everything that the README's commands name."""
    root = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "configs", root / "configs")
    for c, name in enumerate(OWN_CLASSES):
        for n in range(PICTURES):
            save(root / "data/mine", f"images/{name}/{n}.png", f"masks/{name}/{n}.png", 10 * c + n)
    ade = root / "data/ade20k-objects"
    for c, name in enumerate(sorted(sum(ADE_CLASSES.values(), ())), start=1):
        for n in range(PICTURES):
            truth = save(ade, f"images/{name}/{n}.jpg", f"masks/{name}/{n}.png", 100 * c + n)
            (ade / "parts" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(truth * np.uint8(c)).save(ade / f"parts/{name}/{n}.png")
    names = enumerate(sorted(sum(ADE_CLASSES.values(), ())), start=1)
    (ade / "parts.json").write_text(json.dumps({str(c): {"object": name, "part": "all"} for c, name in names}))
    (ade / "splits").mkdir()
    for split, classes in ADE_CLASSES.items():
        (ade / "splits" / f"{split}.txt").write_text("\n".join(classes) + "\n")
    small_camvid(root / "data/camvid", pictures=20)
    for n in (1, 2):
        save(root / "labelled", f"cat{n}.jpg", f"cat{n}.png", n, factor=1)
    (root / "pictures").mkdir()
    for n, name in enumerate("ab"):
        draw(50 + n, (36, 52))[0].save(root / "pictures" / f"{name}.jpg")
    return root


@pytest.mark.timeout(900)  # twenty seconds of an idle core; far more on a busy one
def test_every_pixgraph_command_runs_in_the_order_of_the_readme(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    found = [pixgraph_arguments(words) for words in commands() if "pixgraph" in words]
    assert {argv[0] for argv in found} == set(COMMANDS) - {"demo"}  # `make demo` runs that one
    for argv in found:
        code = main(shortened(argv))
        assert code == 0, f"pixgraph {shlex.join(argv)}: {capsys.readouterr().err}"
    for made in ("answers/masks/a.png", "answers/overlays/b.jpg", "answers/predictions.json"):
        assert (workspace / made).is_file()
    for made in (
        "index.html",
        "summary.json",
        "metrics.jsonl",
        "config.yaml",
        "environment.json",
        "checkpoints/best.pt",
    ):
        assert (workspace / "runs/first" / made).is_file()
    assert (workspace / "runs/two/checkpoints/last.pt").is_file()
    assert (workspace / "runs/pixels/backbone.safetensors").is_file()
    assert (workspace / "runs/pixels/pairs.png").is_file()
    for run in ("reco", "partial", "spml"):
        assert (workspace / "runs" / run / "index.html").is_file()
    for made in ("few/masks/a.png", "marks.png", "marks/annotations.json"):
        assert (workspace / made).is_file()
    for made in ("sheet.png", "pairs.png", "probe/index.html", "probe-full/index.html", "pixels/masks/a.png"):
        assert (workspace / made).is_file()


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_each_python_block_runs(number, workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    names = {}
    exec(compile(blocks("python")[number], f"README.md, Python block {number}", "exec"), names)
    if "masks" in names:
        assert [mask.shape for mask in names["masks"]] == [(36, 52)] * 2
    if "strokes" in names:
        coins_found = [names["mask"][row, column] for row, column in ((119, 271), (124, 45), (126, 102), (198, 154))]
        assert coins_found == [1] * 4


def test_short_pixgraph_commands_within_sentences_run(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    inline = {line for line in re.findall(r"`pixgraph ([^`]+)`", README) if line != "-v1"}
    assert "data list" in inline
    for line in inline:
        assert main(shlex.split(line)) == 0, line
        assert capsys.readouterr().out


def test_other_commands_name_what_there_is():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    extras = (
        (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1].split("[project.scripts]")[0]
    )
    known = {"make", "pip", "pixgraph", "torchrun", ".venv/bin/pytest"}
    for words in [*commands(), *commands(DOCUMENTS["CONTRIBUTING.md"])]:
        assert words[0] in known, words
        if words[0] == "make":
            assert words[1] in targets
    for extra in re.findall(r'"\.\[(\w+)\]"', README):
        assert re.search(rf"^{extra} = ", extras, re.MULTILINE)
    for name in re.findall(r"pixgraph\.data\.download (\w+)", README):
        from pixgraph.data.download import ARCHIVES

        assert name in ARCHIVES


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_and_links_exist(name):
    text = DOCUMENTS[name]
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    paths = re.findall(r"(?<![\w/])(?:configs|tools|tests|pixgraph|benchmarks)/[\w./-]*\w", text)
    assert links or name != "README.md"
    for path in {*links, *paths} - {"benchmarks/results/NAME.md"}:
        assert (ROOT / path).exists(), path


def test_every_config_is_real_and_placeholders_are_closed():
    assert set(re.findall(r"configs/([\w-]+\.yaml)", README)) <= {path.name for path in (ROOT / "configs").iterdir()}
    assert README.count("<!-- results:") == README.count("<!-- /results -->") > 0


def test_the_graph_is_described_as_it_is():
    from pixgraph.graph.edges import EdgeKind

    section = README.split("### The graph, precisely")[1].split("```")[0]
    assert re.findall(r"^\| `([A-Z_]+)`", section, re.MULTILINE) == [kind.name for kind in EdgeKind]
    defaults = dict(re.findall(r"`([a-z_]+)` \(([^)]+)\)", section))
    config = GraphConfig()
    for name in vars(config):
        assert f"`{name}`" in section, name
    for name in set(defaults) & set(vars(config)) - {"sampling", "color"}:
        value = getattr(config, name)
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
        assert defaults[name] == shown, name


def test_protocols_are_described_as_they_are():
    section = README.split("## Protocols")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)`[^|]*\| (\d+) x (\d+) \|", section, re.MULTILINE)
    assert {n: (int(e), int(s)) for n, e, s in rows} == {n: (p.episodes, len(p.seeds)) for n, p in PROTOCOLS.items()}


def test_terms_of_every_data_set_are_named():
    section = README.split("## Data and licences")[1]
    named = {name for name in dataset_names() if f"| `{name}`" in section}
    assert named == set(dataset_names()) - {"folder"}


def test_the_licence_is_the_one_that_the_package_declares():
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_changelog_knows_this_version():
    from pixgraph.version import __version__

    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
