"""The pictures of a study."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pixgraph.study.effects import Effect
from pixgraph.study.interactions import Interaction
from pixgraph.study.recommend import Candidate, pareto
from pixgraph.training.atomic import write_atomic

DPI = 130
BLUE, ORANGE, GREY = "#1c6fd6", "#d9480f", "#868e96"


def plot_pareto(found: Sequence[Candidate], picked: Mapping[str, Candidate], path: Path) -> Path:
    """Accuracy against time of all complete trials, memory as colour, the front, and the recommended ones."""
    figure, axes = _figure(8, 5)
    drawn = axes.scatter(
        [c.milliseconds for c in found],
        [100 * c.gain.mean for c in found],
        c=[c.row.megabytes for c in found],
        cmap="viridis",
        norm="log",
        s=22,
    )
    front = pareto(found)
    axes.step([c.milliseconds for c in front], [100 * c.gain.mean for c in front], where="post", color=GREY, lw=1)
    # One label where a trial has several names.
    names: dict[int, list[str]] = {}
    for name, c in picked.items():
        names.setdefault(id(c), []).append(name)
    for c in {id(c): c for c in picked.values()}.values():
        place = (c.milliseconds, 100 * c.gain.mean)
        axes.scatter(*place, s=90, facecolors="none", edgecolors=ORANGE, lw=1.6)
        axes.annotate(", ".join(names[id(c)]), place, xytext=(7, -13), textcoords="offset points", color=ORANGE)
    axes.axhline(0, color=GREY, lw=0.8, ls="--")
    axes.set(xscale="log", xlabel="ms a query, features given", ylabel="mIoU, points against the default")
    figure.colorbar(drawn, label="MB of the graph")
    return _save(figure, path)


def plot_effects(found: Sequence[Effect], path: Path) -> Path:
    """One line a value: the mean difference to the default with its 95 % interval, and that of each data set."""
    figure, axes = _figure(9, 1.2 + 0.24 * len(found))
    sources = list(dict.fromkeys(name for e in found for name in e.sources))
    marks = dict(zip(sources, "osD^vP*X" * (1 + len(sources) // 8), strict=False))
    for y, e in enumerate(reversed(found)):
        color = BLUE if e.sure else GREY
        axes.plot([100 * e.miou.low, 100 * e.miou.high], [y, y], color=color, lw=2)
        axes.plot(100 * e.miou.mean, y, "|", color=color, ms=11, mew=2.5)
        for name, value in e.sources.items():
            axes.plot(100 * value, y, marks[name], color=ORANGE, ms=3.2, alpha=0.75)
    for name in sources:
        axes.plot([], [], marks[name], color=ORANGE, ms=4, label=name)
    axes.plot([], [], color=BLUE, lw=2, label="beyond chance among all")
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(range(len(found)), [f"{e.factor}: {e.value}" for e in reversed(found)], fontsize=7)
    axes.set(xlabel="mIoU, points against the default (95 % interval over data sets, shots and seeds)")
    axes.set_ylim(-0.7, len(found) - 0.3)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _save(figure, path)


def plot_importance(found: Mapping[str, Mapping[str, float]], path: Path) -> Path:
    """Shares of each factor, a group of bars a factor and a colour an objective."""
    names = list(dict.fromkeys(name for shares in found.values() for name in shares))
    figure, axes = _figure(7, 1.0 + 0.33 * len(names))
    height = 0.8 / max(1, len(found))
    for i, (objective, shares) in enumerate(found.items()):
        places = [len(names) - 1 - k + (0.4 - height * (i + 0.5)) for k in range(len(names))]
        widths = [100 * shares.get(name, 0.0) for name in names]
        axes.barh(places, widths, height, label=objective, color=(BLUE, ORANGE, GREY)[i % 3])
    axes.set_yticks(range(len(names)), list(reversed(names)), fontsize=8)
    axes.set(xlabel="% of what the factors explain alone")
    axes.legend(fontsize=8)
    return _save(figure, path)


def plot_interactions(found: Sequence[Interaction], path: Path, most: int = 12) -> Path:
    """The surest pairs: variance explained beyond main effects, and what chance gives."""
    shown = list(found[:most])
    figure, axes = _figure(7, 1.2 + 0.3 * len(shown))
    places = range(len(shown) - 1, -1, -1)
    axes.barh(places, [100 * i.gain for i in shown], 0.6, color=[BLUE if i.p < 0.05 else GREY for i in shown])
    axes.plot([100 * i.noise for i in shown], list(places), "|", color=ORANGE, ms=13, mew=2, label="95 % of chance")
    axes.set_yticks(list(places), [f"{i.first} x {i.second}" for i in shown], fontsize=8)
    axes.set(xlabel="% of the variance of mIoU beyond main effects")
    axes.legend(fontsize=8)
    return _save(figure, path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure that belongs to no window system and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e2e4e8", lw=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _save(figure: Any, path: Path) -> Path:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=DPI)
    write_atomic(path, data.getvalue())
    return path
