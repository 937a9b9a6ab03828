"""The tables and the plot of `speed_pretrain`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrain_steps import NETWORK, OURS, PACKAGE, WHOLE_STEP
from recording import MORE, milliseconds, spread, table

HEADER = ["map", "image", "batch", "step", "ms, median (quartiles)", "times as fast", "peak, MB", "times less"]


def report(result: Mapping[str, Any], name: str) -> str:
    """The body of the Markdown file."""
    full = result["full"]["case"]
    return "\n\n".join(
        [
            f"Device {result['device']}. Steps alternate in one process; a ratio is the median of the rounds' ratios, "
            "its quartiles in brackets. Peak memory: by how much a second step raises that of a process of its own.",
            "**PixelCL**: forward, backward, Adam and target; ResNet-18, projections of 256, crops of 0.7 of the "
            "sides, the same for both, no photometric augmentation.",
            table(HEADER, [row for one in result["pixelcl"] for row in _compared(one)]),
            MORE,
            f"**Full resolution**: {full['network']} on {full['batch']} pictures, views of {full['size']} pixels, "
            f"{full['pairs']} pairs a picture, heads of {full['hidden']} channels, cells of 16.",
            table(["step", "ms, median (quartiles)", "times the UNet's", "peak, MB"], _full_rows(result["full"])),
            "**Growth**: propagation at 150 pixels of one map of 64 channels, and a whole step with unet-small and "
            "heads of 64 channels on one picture; slope: growth with the number of pixels, from the first to the last "
            "size (1: linear).",
            table(*_growth_table(result["growth"])),
            f"![memory and time by size]({name}.png)",
        ]
    )


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Peak memory and time by the number of pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    for axes, (key, label) in zip(panels, (("peak_mb", "peak memory, MB"), ("seconds", "seconds")), strict=True):
        for name, points in _curves(result["growth"], key).items():
            axes.plot(*zip(*points, strict=True), "o-", label=name)
        sides = sorted({one["size"] for one in result["growth"]})
        axes.set(xscale="log", yscale="log", xlabel="pixels of a view", title=label)
        axes.set_xticks([side**2 for side in sides], [f"{side}²" for side in sides])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    if panels[0].lines:
        panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def ratio(over: Sequence[float], under: Sequence[float]) -> str:
    """Median and, in brackets, quartiles of the rounds' ratios.

    Example:
        >>> ratio([2.0, 4.0, 6.0], [1.0, 1.0, 2.0])
        '3.00 (2.50-3.50)'
    """
    ratios = sorted(a / b for a, b in zip(over, under, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Exponent of the growth between the first and the last point (x, y); none for fewer than two.

    Example:
        >>> slope([(1, 3), (10, 30), (100, 300)])
        1.0
    """
    (x, y), (x2, y2) = points[0], points[-1]
    return math.log(y2 / y) / math.log(x2 / x) if x2 > x and min(y, y2) > 0 else None


def _compared(one: Mapping[str, Any]) -> list[list[Any]]:
    case, rows = one["case"], []
    for name in (PACKAGE, OURS):
        timed, memory = one["time"][name], one["memory"][name]
        where = [f"{case['cells']} x {case['cells']}", case["image"], case["batch"], name]
        if "skipped" in timed:
            rows.append([*where, timed["skipped"], "-", "-", "-"])
            continue
        other, theirs = one["time"][PACKAGE], one["memory"][PACKAGE].get("peak_mb")
        faster = ratio(other["seconds"], timed["seconds"]) if name == OURS and "seconds" in other else "-"
        peak = memory.get("peak_mb")
        less = f"{theirs / peak:.1f}" if name == OURS and theirs and peak else "-"
        rows.append([*where, milliseconds(spread(timed["seconds"])), faster, _megabytes(memory), less])
    return rows


def _full_rows(full: Mapping[str, Any]) -> list[list[Any]]:
    rows, base = [], full["time"][NETWORK]["seconds"]
    for name, timed in full["time"].items():
        times = "1" if name == NETWORK else ratio(timed["seconds"], base)
        rows.append([name, milliseconds(spread(timed["seconds"])), times, _megabytes(full["memory"].get(name, {}))])
    return rows


def _growth_table(found: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    sides, names = sorted({one["size"] for one in found}), list(dict.fromkeys(one["name"] for one in found))
    by = {(one["name"], one["size"]): one for one in found}
    curves = _curves(found, "peak_mb")
    rows = []
    for name in names:
        found_slope = slope(curves[name]) if name in curves else None
        shown = "-" if found_slope is None else f"{found_slope:.2f}"
        title = f"{WHOLE_STEP}, unet-small" if name == WHOLE_STEP else f"propagation: {name}"
        rows.append([title, *(_cell(by[name, side]) for side in sides), shown])
    return ["what", *(f"{side} x {side}: MB (s)" for side in sides), "slope"], rows


def _cell(one: Mapping[str, Any]) -> str:
    return one["skipped"] if "skipped" in one else f"{_megabytes(one)} ({one['seconds']:.2f})"


def _curves(found: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[tuple[float, float]]]:
    """Points (pixels, value) of each name that has any."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for one in sorted(found, key=lambda one: one["size"]):
        if one.get(key):
            curves.setdefault(one["name"], []).append((one["size"] ** 2, max(one[key], 1e-3)))
    return curves


def _megabytes(found: Mapping[str, Any]) -> str:
    peak = found.get("peak_mb")
    return "-" if peak is None else f"{peak:,.0f}"
