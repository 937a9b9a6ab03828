"""Panels of a report: the best, median and worst episodes, redrawn from their seeds, and kept in the run's folder."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixgraph.data.base import FewShotDataset
from pixgraph.data.episodes import Episode
from pixgraph.data.marks import thicken
from pixgraph.data.picture import Picture
from pixgraph.data.protocols import Protocol
from pixgraph.data.support_marks import SupportMarks
from pixgraph.data.tasks import load_task, truth
from pixgraph.errors import RunError
from pixgraph.evaluation.evaluate import predict_blind
from pixgraph.evaluation.result import Evaluation, Example
from pixgraph.evaluation.scoring import resize_labels
from pixgraph.models.predictor import Predictor
from pixgraph.report.tiles import Tile, data_uri, episode_tiles
from pixgraph.training.atomic import write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pixgraph.backbones.features import FeatureStore


MARK_RADIUS = 3.0
"""Radius of a shown mark, in pixels of the working size."""


@dataclass(frozen=True)
class Panel:
    """One episode as a row of small pictures.

    Attributes:
        title: Such as ``"best: chair"``.
        caption: Scores of the methods and where the episode comes from.
        tiles: The pictures.
    """

    title: str
    caption: str
    tiles: list[Tile] = field(repr=False)


def make_panels(
    evaluation: Evaluation,
    predictors: Mapping[str, Predictor] | Predictor,
    dataset: FewShotDataset,
    store: FeatureStore,
    protocol: Protocol,
    each: int = 2,
    side: int = 200,
) -> list[Panel]:
    """Redraw the `each` best, median and worst episodes of an evaluation.

    Args:
        evaluation: The scores; its main method chooses the episodes.
        predictors: The main method, or several by name, the main one first.
        dataset: What was evaluated on.
        store: Features of its pictures.
        protocol: What was evaluated by.
        each: Episodes of each kind.
        side: Longer side of a small picture, in pixels.
    """
    named = predictors if isinstance(predictors, Mapping) else {evaluation.main: predictors}
    examples = evaluation.examples(each)
    lists: dict[int, Any] = {}
    for example in examples:
        if example.seed not in lists:
            last = max(e.episode for e in examples if e.seed == example.seed)
            # A prefix of the list is enough, since episode i depends on the seed and i only.
            shorter = dataclasses.replace(protocol, episodes=last + 1)
            lists[example.seed] = shorter.episode_list(dataset, evaluation.n_way, evaluation.k_shot, example.seed)
    marks = evaluation.marks
    return [
        _panel(example, lists[example.seed][example.episode], named, dataset, store, side, marks)
        for example in examples
    ]


def _panel(
    example: Example,
    episode: Episode,
    predictors: Mapping[str, Predictor],
    dataset: FewShotDataset,
    store: FeatureStore,
    side: int,
    marks: SupportMarks,
) -> Panel:
    task = load_task(dataset, episode, store, marks=marks)
    index = episode.query[0]
    true = truth(dataset, index, episode)
    of_support = [i for way in episode.support for i in way]
    shown = [truth(dataset, i, episode) for i in of_support] if marks.kind == "masks" else map(_marked, task.support)
    supports = [(dataset.read_image(i), label) for i, label in zip(of_support, shown, strict=True)]
    answers = {
        name: resize_labels(predict_blind(predictor, task)[0], (true.shape[0], true.shape[1]))
        for name, predictor in predictors.items()
    }
    scores = ", ".join(f"{name} {100 * iou:.1f}" for name, iou in example.iou.items())
    names = ", ".join(dataset.class_names[c] for c in episode.classes)
    return Panel(
        title=f"{example.kind}: {names}",
        caption=f"IoU %: {scores} · seed {example.seed}, episode {example.episode}",
        tiles=episode_tiles(supports, dataset.read_image(index), true, answers, side),
    )


def _marked(picture: Picture) -> np.ndarray:
    """The marks of a support, thick enough to be seen: (H, W) uint8."""
    if picture.label is None:
        raise RunError(f"support {picture.key!r} has no label; evaluate again")
    return thicken(picture.label.cpu().numpy().astype(np.uint8), MARK_RADIUS)


def graph_png(figure: Figure, dots_per_inch: int = 110) -> bytes:
    """A drawn graph (`pixgraph.graph.draw.draw_graph`) as PNG on white, which its legend is made for."""
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white", bbox_inches="tight")
    return buffer.getvalue()


def save_panels(run_folder: str | Path, label: str, panels: Sequence[Panel], graph: bytes | None = None) -> Path:
    """Keep panels, and the PNG of a drawn graph, as ``panels/LABEL.json``, where `write_report` finds them.

    Args:
        run_folder: The run.
        label: What was evaluated, as in ``evaluations/LABEL.json``.
        panels: The panels.
        graph: PNG of a graph drawn over an episode.

    Raises:
        RunError: The file cannot be written.
    """
    content = {
        "panels": [panel_content(panel) for panel in panels],
        "graph": None if graph is None else png_uri(graph),
    }
    return write_panels(run_folder, label, content)


def png_uri(png: bytes) -> str:
    """A PNG file as the address of a picture in a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def panel_content(panel: Panel) -> dict[str, Any]:
    """A panel as JSON values, its pictures inside."""
    tiles = [{"caption": tile.caption, "image": data_uri(tile.image)} for tile in panel.tiles]
    return {"title": panel.title, "caption": panel.caption, "tiles": tiles}


def write_panels(run_folder: str | Path, label: str, content: Mapping[str, Any]) -> Path:
    """Write ``panels/LABEL.json``.

    Raises:
        RunError: It cannot be written.
    """
    path = Path(run_folder) / "panels" / f"{label}.json"
    try:
        path.parent.mkdir(exist_ok=True)
        write_json(path, content)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; free space or change permissions") from error
    return path


def load_panels(run_folder: str | Path) -> dict[str, dict[str, Any]]:
    """What `save_panels` kept, by label; files that cannot be read are left out, for the page is not worth an error."""
    found = {}
    for path in sorted(Path(run_folder).glob("panels/*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and isinstance(content.get("panels"), list):
            found[path.stem] = content
    return found
