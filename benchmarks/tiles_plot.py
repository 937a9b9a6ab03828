"""The pictures of `speed_tiles.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pixgraph.overlay import overlay

CROP = 512


def draw_costs(result: Mapping[str, Any], path: Path) -> None:
    """Memory and time by size, and the steps of the probabilities near borders of tiles."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    memory, seconds, seams = figure.subplots(1, 3)
    ways = {
        f"tiles of {result['tile']}": lambda one: one["tile"] is not None,
        "whole, squashed": lambda one: one["tile"] is None and one["size"] != one["side"],
        "whole, at its own size": lambda one: one["tile"] is None and one["size"] == one["side"],
    }
    for name, chosen in ways.items():
        rows = [one for one in result["costs"] if chosen(one) and "failed" not in one]
        sides = [one["side"] for one in rows]
        memory.plot(sides, [max(one["beyond_mb"], 1) for one in rows], "o-", label=name)
        seconds.plot(sides, [one["seconds"] for one in rows], "o-", label=name)
    for axes, title in ((memory, "memory beyond picture and mask, MB"), (seconds, "seconds")):
        axes.set(xscale="log", yscale="log", xlabel="pixels a side", title=title)
        axes.set_xticks(sorted({one["side"] for one in result["costs"]}), minor=False)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    memory.legend()
    for one in result["accuracy"]:
        if one["tile"] == result["tile"] and one["seams"]["borders"]:
            line = one["seams"]["profile"]
            seams.plot(np.arange(len(line)) - len(line) // 2, line, label=f"overlap {one['overlap']}")
    seams.set(title=f"change from pixel to pixel, tiles of {result['tile']}", xlabel="pixels from a border of tiles")
    seams.set_ylim(bottom=0)
    seams.legend()
    seams.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def draw_masks(arrays: Mapping[str, np.ndarray], tile: int, path: Path) -> None:
    """A part of the picture around a corner of four tiles, with its truth and masks.

    Args:
        arrays: "rgb", "truth", "whole" and, for tiles, "TILE/OVERLAP".
        tile: The tile that is shown, without overlap and with an eighth.
        path: Where to.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = {"truth": "truth", "whole": "whole, squashed", f"{tile}/0": "tiles, no overlap"}
    chosen[f"{tile}/{tile // 8}"] = f"tiles, overlap {tile // 8}"
    shown = {title: arrays[key] for key, title in chosen.items() if key in arrays}
    start = max(0, tile - CROP // 2)
    part = slice(start, start + CROP)
    figure = Figure(figsize=(3.6 * len(shown), 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, mask) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        axes.imshow(overlay(arrays["rgb"][part, part], mask[part, part]))
        axes.set_title(title)
        axes.axis("off")
    figure.savefig(path, dpi=110)
