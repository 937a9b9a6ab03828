"""The tables and the plot of `speed_attention`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attention_peers import COMPILED, METHODS, OPERATORS
from recording import MORE, milliseconds, spread, table

OURS = "pixgraph"
SPARSE = "PyG's layers get an EdgeIndex; a SparseTensor, which needs torch_sparse, is not compared."
NOTES = METHODS | COMPILED | OPERATORS


def report(result: Mapping[str, Any]) -> str:
    """Markdown: the verdict, the default point, memory, growth."""
    default, memory = result["default"], result["memory"]
    layers = [n for n in default["layers"] if n not in OPERATORS]
    operators = [n for n in default["layers"] if n in OPERATORS]
    parts = [
        f"A layer of {default['channels']} channels and {default['heads']} heads with three features an edge on a "
        f"lattice of {default['nodes']:,} nodes and {default['edges']:,} edges, float32 on {default['device']}. Times "
        f"in ms: median (quartiles) of {default['rounds']} rounds in one process, each layer in turn; ratios to "
        f"{OURS} round by round. Memory in MiB: by how much the peak of a process grows during forward and backward. "
        "`first` is the first pass and includes compiling; `prepare` is what is done once for a graph. " + SPARSE,
        verdict(default["layers"], memory),
        table(
            ["layer", "forward", "forward + backward", "ratio", "memory", "ratio", "prepare", "first", "remark"],
            [_row(name, default["layers"], memory, OURS) for name in layers],
        ),
        MORE,
        "## The operator alone\n\nQueries, keys, values and biases are given: no projections, no network of the edges.",
        table(
            ["operator", "forward", "forward + backward", "ratio", "prepare", "first", "remark"],
            [
                [c for i, c in enumerate(_row(n, default["layers"], {}, operators[0])) if i not in (4, 5)]
                for n in operators
            ],
        ),
        "## Growth\n\nForward and backward, median in ms; nanoseconds an edge for " + OURS + ".",
        *(_growth(axis, points) for axis, points in result["growth"].items() if points),
    ]
    if memory:
        parts += ["### Peak memory (MiB) by nodes", _memory_table(memory)]
    return "\n\n".join(parts)


def verdict(layers: Mapping[str, Any], memory: Mapping[str, Any]) -> str:
    """One sentence each on time and memory against the best layer of the libraries, and on the best of all others."""
    said = []
    for group, what in (
        ("peer", "the fastest layer of DGL and PyG with edge features"),
        ("other", "the fastest other"),
    ):
        timed = {n: one for n, one in layers.items() if n in NOTES and NOTES[n].group == group and "both" in one}
        if timed:
            best = min(timed, key=lambda n: statistics.median(timed[n]["both"]))
            said.append(f"- Against {what} ({best}): {_ratio(layers, best, OURS, 'both')} times as fast.")
    peaks = {n: peak for n in memory if (peak := _peak(memory, n))}
    if OURS in peaks:
        for group, what in (
            ("peer", "the layer of DGL and PyG with edge features that needs least"),
            ("other", "other"),
        ):
            others = {n: peak for n, peak in peaks.items() if NOTES[n].group == group}
            if others:
                best = min(others, key=lambda n: others[n])
                said.append(f"- Memory against {what} ({best}): {peaks[OURS] / others[best]:.2f} of it.")
    return "\n".join(said)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Write the plot: time by nodes, edges and channels, and memory by nodes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = list(figure.subplots(2, 2).flat)
    colours = dict(zip(METHODS, mpl.color_sequences["tab10"], strict=False))
    for (axis, points), plot in zip(result["growth"].items(), axes, strict=False):
        for name in METHODS:
            timed = [(p[axis], 1000 * statistics.median(p["layers"][name]["both"])) for p in points if _has(p, name)]
            _line(plot, name, timed, colours)
        plot.set(xlabel=axis, ylabel="forward + backward, ms")
    plot = axes[3]
    for name in METHODS:
        known = [(m["nodes"], m["peak_mb"]) for m in result["memory"].get(name, []) if m.get("peak_mb")]
        _line(plot, name, sorted(known), colours)
    plot.set(xlabel="nodes", ylabel="peak memory, MiB")
    for plot in axes:
        if plot.lines:
            plot.set(xscale="log", yscale="log")
            plot.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def _line(plot: Any, name: str, xy: list[tuple[float, float]], colours: Mapping[str, Any]) -> None:
    if xy:
        ours = NOTES[name].group == "ours"
        plot.plot(*zip(*xy, strict=True), marker="o", label=name, color=colours[name], linewidth=2.5 if ours else 1)


def _row(name: str, layers: Mapping[str, Any], memory: Mapping[str, Any], base: str) -> list[str]:
    one, note = layers[name], NOTES[name].note
    if "skipped" in one:
        return [name, *"-------", f"not measured: {one['skipped']}"]
    peak, own = _peak(memory, name), _peak(memory, base)
    return [
        name,
        milliseconds(spread(one["forward"])),
        milliseconds(spread(one["both"])),
        _ratio(layers, name, base, "both"),
        f"{peak:.0f}" if peak else "-",
        f"{peak / own:.2f}" if peak and own else "-",
        f"{one['prepare_ms']:.0f}",
        f"{one['first_ms']:.0f}",
        note,
    ]


def _ratio(layers: Mapping[str, Any], name: str, base: str, what: str) -> str:
    """Time relative to that of `base` in the same round: median (quartiles)."""
    if "skipped" in layers[base]:
        return "-"
    ratios = [a / b for a, b in zip(layers[name][what], layers[base][what], strict=True)]
    found = spread(ratios)
    middle, low, high = (found[key] / 1000 for key in ("median_ms", "q25_ms", "q75_ms"))
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def _growth(axis: str, points: list[Mapping[str, Any]]) -> str:
    rows = []
    for name in METHODS:
        cells = [_cell(p["layers"][name]) for p in points]
        rows.append([name, *cells])
    rows.append([f"{OURS}, ns an edge", *(_nanoseconds(p) for p in points)])
    fixed = "" if axis == "nodes" else f", {points[0]['nodes']:,} nodes"
    return f"### By {axis}{fixed}\n\n" + table(["layer", *(f"{p[axis]:,}" for p in points)], rows)


def _nanoseconds(point: Mapping[str, Any]) -> str:
    """Time an edge of ours."""
    if not _has(point, OURS):
        return "-"
    return f"{1e9 * statistics.median(point['layers'][OURS]['both']) / point['edges']:.0f}"


def _cell(one: Mapping[str, Any]) -> str:
    if "skipped" in one:
        return f"({one['skipped']})"
    found = spread(one["both"])
    return f"{found['median_ms']:.1f}"


def _memory_table(memory: Mapping[str, Any]) -> str:
    names = [n for n in memory if n in METHODS]
    nodes = sorted({one["nodes"] for n in names for one in memory[n]})
    rows = []
    for name in names:
        known = {one["nodes"]: one for one in memory[name]}
        rows.append([name, *(_mebibytes(known.get(n, {"skipped": "too slow"})) for n in nodes)])
    return table(["layer", *(f"{n:,}" for n in nodes)], rows)


def _mebibytes(one: Mapping[str, Any]) -> str:
    if "skipped" in one:
        return f"({one['skipped']})"
    return "-" if one["peak_mb"] is None else f"{one['peak_mb']:.0f}"


def _peak(memory: Mapping[str, Any], name: str) -> float | None:
    return memory[name][0].get("peak_mb") if memory.get(name) else None


def _has(point: Mapping[str, Any], name: str) -> bool:
    return "both" in point["layers"].get(name, {})
