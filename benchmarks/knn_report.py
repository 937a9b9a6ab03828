"""Tables and plot of `speed_knn`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knn_peers import METHODS
from recording import milliseconds, spread, table

TARGET = 1.15


def summary(row: Mapping[str, Any]) -> dict[str, Any]:
    """Ours against the best other exact search at one point.

    Returns:
        ``best``, its name; ``ratio``: median over the rounds of our time by its time in the same round; ``low`` and
        ``high``, the quartiles of that; ``ours_ms`` and ``best_ms``, medians.
    """
    timed = {name: one["seconds"] for name, one in row["found"].items() if "seconds" in one}
    median = {name: spread(seconds)["median_ms"] for name, seconds in timed.items()}
    best = min((name for name in timed if METHODS[name].exact and name != "pixgraph"), key=median.__getitem__)
    pairs = zip(timed["pixgraph"], timed[best], strict=False)
    ratios = spread([ours / theirs / 1000 for ours, theirs in pairs])
    return {
        "best": best,
        "ratio": ratios["median_ms"],
        "low": ratios["q25_ms"],
        "high": ratios["q75_ms"],
        "ours_ms": median["pixgraph"],
        "best_ms": median[best],
    }


def report(result: Mapping[str, Any]) -> str:
    """The whole text."""
    rows = result["rows"]
    met = sum(summary(row)["ratio"] <= TARGET for row in rows)
    text = [
        f"{result['threads']} thread{'s' * (result['threads'] > 1)}, {result['clock']}. `pixgraph` is "
        "`nearest_neighbours` with its whole contract: the point itself removed by index, ties by index, distances "
        "from differences. The others return what they have.\n\n"
        "photo: RGBxy of a photograph's pixels for d = 5, else feature maps of a CNN with random weights, interpolated "
        "to every pixel; noise: uniform. Where fewer points ask than there are, building the index of all is included.",
        f"## Against the best other exact search\n\nRatio of times in the same round, median (quartiles); at most "
        f"{TARGET} at {met} of {len(rows)} points.",
        table(["data", "d", "n", "queries", "k", "ours, ms", "best other", "its ms", "ratio"], map(_first, rows)),
    ]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for d in dict.fromkeys(row["d"] for row in rows):
            chosen = [row for row in rows if row["kind"] == kind and row["d"] == d]
            if chosen:
                text += [f"## {kind}, d = {d}", _details(chosen)]
    text += [
        "Median (quartiles) in ms, then the recall in percent where some are missed; one figure: timed once. "
        "Approximate searches in italics."
    ]
    if result["memory"]:
        text += ["## Peak memory\n\nResident, above what was there before, in MB.", _memory(result["memory"])]
    return "\n\n".join(text)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Time against the number of points, a panel for each kind and dimension."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = result["rows"]
    kinds, sizes = list(dict.fromkeys(r["kind"] for r in rows)), list(dict.fromkeys(r["d"] for r in rows))
    figure, axes = plt.subplots(len(kinds), len(sizes), figsize=(4 * len(sizes), 3.6 * len(kinds) + 0.8), squeeze=False)
    colours = plt.get_cmap("tab20")
    for i, kind in enumerate(kinds):
        for j, d in enumerate(sizes):
            for colour, name in enumerate(METHODS):
                points = [
                    (row["n"], spread(row["found"][name]["seconds"])["median_ms"] * 1000 / row["queries"])
                    for row in rows
                    if (row["kind"], row["d"]) == (kind, d) and row["k"] == rows[0]["k"]
                    if "seconds" in row["found"].get(name, {})
                ]
                style = {"linewidth": 2.5, "color": "black"} if name == "pixgraph" else {"color": colours(colour)}
                dash = "-" if METHODS[name].exact else ":"
                axes[i, j].loglog(*zip(*points, strict=True), dash, marker=".", label=name, **style) if points else None
            axes[i, j].set(title=f"{kind}, d = {d}", xlabel="points", ylabel="µs a query" if j == 0 else "")
            axes[i, j].grid(alpha=0.3)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=6, fontsize=8, title="dotted: approximate")
    figure.tight_layout(rect=(0, 0.6 / figure.get_figheight() + 0.05, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _first(row: Mapping[str, Any]) -> tuple[Any, ...]:
    one = summary(row)
    ratio = f"{one['ratio']:.2f} ({one['low']:.2f}-{one['high']:.2f})"
    where = (row["kind"], row["d"], f"{row['n']:,}", f"{row['queries']:,}", row["k"])
    return (*where, f"{one['ours_ms']:.1f}", one["best"], f"{one['best_ms']:.1f}", ratio)


def _details(rows: list[Mapping[str, Any]]) -> str:
    """A line for each search, a column for each size."""
    header = [f"n = {row['n']:,}" + (f", k = {row['k']}" if row["k"] != rows[0]["k"] else "") for row in rows]
    names = [name for name in METHODS if any(name in row["found"] for row in rows)]
    label = {name: name if METHODS[name].exact else f"*{name}*" for name in names}
    return table(
        ["search", *header], ([label[name], *(_cell(row["found"].get(name)) for row in rows)] for name in names)
    )


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    if "skipped" in found:
        return found["skipped"]
    times = spread(found["seconds"])
    text = milliseconds(times) if times["rounds"] > 1 else f"{times['median_ms']:.1f}"
    return text if found["recall"] > 0.99995 else f"{text}, {100 * found['recall']:.1f} %"


def _memory(rows: list[Mapping[str, Any]]) -> str:
    header = [f"{row['kind']}, d = {row['d']}, n = {row['n']:,}" for row in rows]
    names = [name for name in METHODS if any(name in row["peak_mb"] for row in rows)]
    return table(["search", *header], ([name, *(row["peak_mb"].get(name, "-") for row in rows)] for name in names))
