"""The tables and the picture of `embedding.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recording import MORE, mean_and_deviation, percent, table


def report(result: Mapping[str, Any], name: str) -> str:
    """Markdown: both scores of each embedding, the baselines on it, and IoU by class; the picture is NAME.png."""
    settings, rows = result["settings"], result["embeddings"]
    about = (
        f"Linear probe: logistic regression of single pixels on frozen features, {settings['pixels']:,} training "
        f"pixels of {settings['linear_on']}, scored on the split {settings['split']} at the pictures' own size. "
        f"Few-shot: the training-free graph, {settings['k_shot']}-shot, {settings['few_shot_on']} "
        f"{settings['split']} classes, {settings['episodes']} episodes a seed. {settings['seeds']} seeds: of "
        f"pixels, of episodes, and of the weights where these are random. "
        f"mIoU in percent, mean ± deviation over the seeds; working size "
        f"{settings['size']}, levels {settings['levels'] or 'all'}."
    )
    trivial = next((one["per_seed"][0]["trivial"] for one in rows.values()), None)
    lines = [["commonest class / background everywhere", "-", "-", percent(trivial), "-", percent(0.0)]]
    lines += [
        [
            name,
            one["pretrained_on"],
            one["channels"],
            percent(*one["linear"]),
            percent(*_over(one, "pixel_accuracy")),
            percent(*one["few_shot"]),
        ]
        for name, one in rows.items()
    ]
    head = ["embedding", "pretrained on", "channels", "linear probe", "pixels right", "few-shot"]
    parts = [
        about,
        table(head, lines),
        MORE,
        f"![both scores]({name}.png)",
        "## Few-shot baselines",
        _baselines(rows),
        "## By class",
        _classes(rows),
    ]
    return "\n\n".join(parts)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Bars of both scores, a point a seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = result["embeddings"]
    figure = Figure(figsize=(11, 1.3 + 0.42 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    titles = {"linear": "linear probe, mIoU %", "few_shot": "few-shot without training, mIoU %"}
    for axes, (key, title) in zip(figure.subplots(1, 2, sharey=True), titles.items(), strict=True):
        for place, one in enumerate(rows.values()):
            axes.barh(place, 100 * one[key][0], color="#5aa9e6", height=0.6)
            points = [100 * seed[key] for seed in one["per_seed"]]
            axes.plot(points, [place] * len(points), "k.", markersize=4)
        axes.set_title(title, fontsize=10)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    figure.axes[0].invert_yaxis()
    figure.savefig(path, dpi=110)


def _over(one: Mapping[str, Any], key: str) -> tuple[float | None, float | None]:
    return mean_and_deviation(seed[key] for seed in one["per_seed"])


def _baselines(rows: Mapping[str, Any]) -> str:
    names = list(next(iter(rows.values()))["per_seed"][0]["baselines"])
    lines = [
        [name, *(percent(*mean_and_deviation(seed["baselines"][b] for seed in one["per_seed"])) for b in names)]
        for name, one in rows.items()
    ]
    return table(["embedding", *names], lines)


def _classes(rows: Mapping[str, Any]) -> str:
    names = list(next(iter(rows.values()))["per_seed"][0]["iou"])
    lines = [
        [name, *(percent(mean_and_deviation(seed["iou"][c] for seed in one["per_seed"])[0]) for c in names)]
        for name, one in rows.items()
    ]
    return table(["linear probe, IoU", *names], lines)
