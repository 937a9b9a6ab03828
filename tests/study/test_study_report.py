"""The files of a study say the same as its trials."""

import csv
import json
import re
from dataclasses import asdict

import pytest
import yaml
from toy_study import objective, storage, work

from pixgraph.cli.options import parse
from pixgraph.config import Config, GraphConfig
from pixgraph.errors import RunError
from pixgraph.study.driver import run_trials
from pixgraph.study.factors import Choice
from pixgraph.study.options import StudyOptions, fixed_settings
from pixgraph.study.report import ABOUT, write_report
from pixgraph.study.storage import open_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The report of a toy grid, whose best setting has 256 foreground nodes."""
    out = tmp_path_factory.mktemp("study")
    made = work(out)
    options = StudyOptions(sampler="grid", graph=GraphConfig(num_bg=32))
    about = {
        "options": json.loads(fixed_settings(options, "")),
        "data": {"split": "val", "classes": {"a": ["cat"], "b": ["dog"]}, "pictures": {"a": 3, "b": 4}},
        "left_out": ["bg_bg"],
        "levels": {f.name: f.levels for f in made.factors if isinstance(f, Choice)},
        "numbers": {},
    }
    open_study(storage(out), made.name, made.settings).set_user_attr(ABOUT, about)
    run_trials(made, storage(out), objective)
    write_report(storage(out), out)
    return out


def table(folder):
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_csv_holds_the_trials(folder):
    lines = table(folder)
    assert [line["factor: num_fg"] for line in lines] == ["64", "16", "256", "64"]
    assert float(lines[2]["mIoU: b, seed 1"]) == 0.4 + 0.256 + 0.03
    assert float(lines[2]["miou"]) == pytest.approx(0.656 + 0.015)
    assert float(lines[2]["mIoU: b"]) == pytest.approx(0.656 + 0.025)
    assert {line["state"] for line in lines} == {"complete"}


def test_parquet_holds_the_same(folder):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    found = pandas.read_parquet(folder / "trials.parquet")
    assert found["miou"].tolist() == [float(line["miou"]) for line in table(folder)]
    assert list(found.columns) == list(table(folder)[0])


def test_the_page_shows_the_numbers_of_the_csv_and_needs_nothing_else(folder):
    page = (folder / "index.html").read_text()
    shown = {float(v) for v in re.findall(r'data-value="([^"]+)"', page)}
    lines = table(folder)
    assert {float(line["miou"]) for line in lines} <= shown
    blocks = [name for name in lines[0] if re.fullmatch(r"mIoU: ., seed .", name)]
    difference = [float(lines[2][b]) - float(lines[0][b]) for b in blocks]
    assert any(v == pytest.approx(sum(difference) / len(difference), abs=1e-15) for v in shown)
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "<script" not in page
    for words in ("val classes of a (3 pictures: cat)", "bg_bg", "Recommended settings", "data:image/png;base64"):
        assert words in page


def test_pictures_and_findings(folder):
    for name in ("pareto", "effects-toy"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((folder / "findings.json").read_text())
    assert {e["value"] for e in found["effects"]["toy"]} == {"16", "256", "boundary"}
    assert found["recommended"]["best"]["values"]["num_fg"] == "256"


def test_recommended_settings_are_configurations(folder):
    path = folder / "recommended" / "best.yaml"
    graph = parse(Config, "train", ["--config", str(path)]).graph
    assert graph == GraphConfig(num_fg=256, num_bg=32)
    assert yaml.safe_load(path.read_text())["graph"] == asdict(graph)
    assert path.read_text().startswith("# Graph construction: best. Trial 2 of the study toy: mIoU against")


def test_a_database_without_trials(tmp_path):
    with pytest.raises(RunError, match="no trial has ended yet"):
        write_report(storage(tmp_path), tmp_path)
