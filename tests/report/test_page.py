"""The page of a run: numbers equal the summary's, nothing from outside is needed, missing parts are left out."""

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from tiny_world import Halves, TinyDataset, TinyStore

from pixgraph.data.protocols import get_protocol
from pixgraph.errors import RunError
from pixgraph.evaluation.baselines import NearestPrototype
from pixgraph.evaluation.evaluate import evaluate
from pixgraph.report.page import write_report
from pixgraph.report.panels import graph_png, load_panels, make_panels, save_panels

V1 = dataclasses.replace(get_protocol("pixgraph-v1"), episodes=5, seeds=(0, 1))
LABEL = "test-1way-1shot-pixgraph-v1"


class Checker(HTMLParser):
    """Collects text and numbers, and complains about tags that do not close in order."""

    VOID = frozenset(("meta", "img", "br", "path", "circle"))

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.values, self.links = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.values += [found["data-value"]] if "data-value" in found else []
        self.links += [found[key] for key in ("src", "href") if key in found]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def scored():
    dataset, store = TinyDataset(), TinyStore()
    methods = {"prototype": NearestPrototype(), "halves": Halves()}
    return evaluate(methods, dataset, store, V1, baselines=False), methods, dataset, store


@pytest.fixture
def run(tmp_path, scored):
    """A run folder with everything in it."""
    evaluation, methods, dataset, store = scored
    folder = tmp_path / "a <run> & more"
    (folder / "evaluations").mkdir(parents=True)
    found = evaluation.to_dict()
    best = {"step": 20, "miou": 0.4321}
    summary = {"state": "finished", "step": 20, "steps": 20, "best": best, "seconds": 90, "evaluation": found}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "evaluations" / f"{LABEL}.json").write_text(json.dumps(found))
    (folder / "evaluations" / "other.json").write_text(json.dumps({**found, "k_shot": 5}))
    train = [
        {"kind": "train", "step": s, "loss": 1 / s, "supcon": 2, "supcon_chance": 3, "lr": 0.1} for s in range(1, 21)
    ]
    lines = [*train, {"kind": "val", "step": 10, "miou": 0.25, "fb_iou": None}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    (folder / "config.yaml").write_text("seed: 3 # <script>\n")
    save_panels(folder, LABEL, make_panels(evaluation, methods, dataset, store, V1, each=1))
    return folder


def test_numbers_on_the_page_are_those_of_the_summary(run):
    page = Checker(write_report(run).read_text())
    found = json.loads((run / "summary.json").read_text())["evaluation"]
    wanted = []
    for method in found["methods"].values():
        wanted += [method["miou"], method["fb_iou"]]
    wanted += [v for v in found["methods"]["prototype"]["per_class"].values() if v is not None]
    shown = [float(v) for v in page.values]
    assert all(value in shown for value in wanted)
    text = " ".join(page.texts)
    for value in wanted:
        assert f"{100 * value:.2f}" in text
    for said in (
        *found["episode_hash"].values(),
        "pixgraph-v1",
        "colour",
        "5 episodes x 2 seeds",
        "not the whole protocol",
    ):
        assert said in text
    assert "1-way 1-shot on test" in page.texts
    assert "1-way 5-shot on test" in page.texts


def test_the_page_needs_nothing_from_outside_and_escapes_names(run):
    text = write_report(run).read_text()
    page = Checker(text)
    assert page.links
    assert all(link.startswith("data:image/") for link in page.links)
    assert not re.search(r"<script|<link|@import|url\(", text)
    assert "a &lt;run&gt; &amp; more" in text
    assert "# &lt;script&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_curves_come_from_the_metrics_with_the_chance_level(run):
    text = write_report(run).read_text()
    labels = re.findall(r'aria-label="([^"]+)"', text)
    assert labels == ["Training loss", "Validation", "supcon", "Learning rate"]
    assert text.count('class="line reference"') == 1
    assert "nan" not in " ".join(re.findall(r'd="([^"]*)"', text))


def test_it_says_when_a_baseline_is_better(tmp_path, scored):
    found = scored[0].to_dict()
    found["main"] = "halves"
    (tmp_path / "summary.json").write_text(json.dumps({"evaluation": found}))
    assert "halves does not beat prototype here" in write_report(tmp_path).read_text()


def test_panels_show_best_median_and_worst(run):
    (content,) = load_panels(run).values()
    assert [panel["title"].split(":")[0] for panel in content["panels"]] == ["best", "median", "worst"]
    for panel in content["panels"]:
        captions = [tile["caption"] for tile in panel["tiles"]]
        assert captions == ["support", "query", "truth", "prototype", "errors", "halves"]
        picture = Image.open(io.BytesIO(base64.b64decode(panel["tiles"][0]["image"].split(",")[1])))
        assert max(picture.size) == 200


def test_panels_redraw_the_scored_episodes(scored):
    evaluation, methods, dataset, store = scored
    panels = make_panels(evaluation, methods["prototype"], dataset, store, V1, each=1)
    for panel, example in zip(panels, evaluation.examples(1), strict=True):
        episode = V1.episode_list(dataset, 1, 1, example.seed)[example.episode]
        assert dataset.class_names[episode.classes[0]] in panel.title
        assert f"prototype {100 * example.iou['prototype']:.1f}" in panel.caption
        assert np.abs(panel.tiles[1].image.mean() - dataset.read_image(episode.query[0]).mean()) < 3


def test_a_drawn_graph_is_shown(run):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.add_subplot().plot([0, 1])
    save_panels(run, "graph", [], graph_png(figure))
    text = write_report(run).read_text()
    assert "The graph over an episode" in text
    assert "data:image/png;base64," in text


def test_an_empty_run_gives_a_page_without_scores(tmp_path):
    page = Checker(write_report(tmp_path).read_text())
    assert tmp_path.name in page.texts
    assert not page.values
    assert not page.links


def test_broken_parts_are_named_or_left_out(run):
    (run / "panels" / "torn.json").write_text('{"panels": [')
    assert list(load_panels(run)) == [LABEL]
    (run / "evaluations" / "torn.json").write_text("{")
    with pytest.raises(RunError, match=r"torn\.json.*remove it and evaluate again"):
        write_report(run)
    with pytest.raises(RunError, match="no such run folder, expected one that training or evaluation made"):
        write_report(run / "nowhere")
    (run / "summary.json").write_text("{")
    with pytest.raises(RunError, match=r"cannot read .*summary\.json"):
        write_report(run)
