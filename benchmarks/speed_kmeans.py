"""Segments of embeddings by spherical k-means, beside loops, FAISS and scikit-learn on the same vectors.

    python benchmarks/speed_kmeans.py

`--device cuda` measures pixgraph and the loops on a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from kmeans_peers import faiss_kmeans, loop_kmeans, sklearn_kmeans
from pretrain_measure import peak_growth
from pretrain_report import ratio
from recording import measured_in_child, milliseconds, provenance, script_parser, spread, table, write_result
from workbench import add_output_arguments, guarded, parsed

from pixgraph.errors import PixgraphError
from pixgraph.pretrain.spml.kmeans import spherical_kmeans

OURS, LOOPS, FAISS, SKLEARN = "pixgraph", "loops over pictures and clusters", "faiss.Kmeans", "sklearn.cluster.KMeans"
GOAL_MS = 300.0
"""What the default map may take on two cores."""
QUICK: dict[str, Any] = {"sides": [8, 12], "side": 12, "channels": 4, "batch": 2, "rounds": 1, "grid": 2}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the table and the plot."""
    args = parsed(parser, argv, QUICK)
    growth = [measure(side, args) for side in sorted({args.side, *args.sides})]
    result = {**provenance(), "settings": settings(args), "growth": growth}
    name = args.name or "speed_kmeans"
    path = write_result(name, result, report(result, name), args.out)
    draw(result, path.with_suffix(".png"))
    print(path)
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--batch", type=int, default=4, help="pictures (default: %(default)s)")
    add("--side", type=int, default=128, help="side of the map (default: %(default)s)")
    add("--sides", type=int, nargs="*", default=[32, 64, 128, 256], help="other maps (default: 32 64 128 256)")
    add("--channels", type=int, default=64, help="length of an embedding (default: %(default)s)")
    add("--grid", type=int, default=6, help="the grid's side; its square is the number of clusters (default: 6)")
    add("--iterations", type=int, default=10, help="iterations (default: %(default)s)")
    add("--rounds", type=int, default=7, help="rounds (default: %(default)s)")
    add("--device", default="cpu", choices=["cpu", "cuda"], help="where (default: %(default)s)")
    add("--no_memory", action="store_true", help="leave out peak memory, which needs a process for each")
    add("--quick", action="store_true", help="tiny sizes, to see that it runs; its numbers mean nothing")
    add_output_arguments(made)
    return made


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What defines the problem, and is handed to a process that measures memory."""
    return {name: getattr(args, name) for name in ("batch", "side", "channels", "grid", "iterations", "device")}


def measure(side: int, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds, peak memory and share of equally labelled pixels of each way at a map."""
    given = {**settings(args), "side": side}
    steps = build_steps(given)
    found: dict[str, Any] = {name: {"seconds": []} for name in steps}
    if args.device != "cpu":
        found |= {name: {"skipped": "computes on the CPU only here"} for name in (FAISS, SKLEARN)}
    segments = {name: step() for name, step in steps.items()}  # threads start, libraries load
    for name in steps:
        found[name]["equal"] = float((segments[name] == segments[OURS]).double().mean())
    for _ in range(args.rounds):
        for name in steps:
            found[name]["seconds"].append(_seconds(steps[name], args.device))
    for name in () if args.no_memory else steps:
        found[name]["peak_mb"] = peak_of({**given, "name": name})
    return {"side": side, "found": found}


def make_maps(given: Mapping[str, Any]) -> torch.Tensor:
    """Smooth random embeddings: noise on a coarse grid, interpolated, as networks give them."""
    g = torch.Generator().manual_seed(0)
    side = given["side"]
    coarse = torch.randn(given["batch"], given["channels"], 10, 10, generator=g)
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=False)
    noise = torch.randn(given["batch"], given["channels"], side, side, generator=g)
    return (fine + 0.3 * noise).to(given["device"])


def build_steps(given: Mapping[str, Any]) -> dict[str, Callable[[], torch.Tensor]]:
    """The segments of one batch by each way that runs on the device."""
    x, grid, iterations = make_maps(given), (given["grid"], given["grid"]), given["iterations"]
    ways: dict[str, Callable[[], torch.Tensor]] = {OURS: lambda: spherical_kmeans(x, None, grid, iterations)}
    if given["device"] == "cpu":
        others = {LOOPS: loop_kmeans, FAISS: faiss_kmeans, SKLEARN: sklearn_kmeans}
        ways |= {name: partial(way, x, grid, iterations) for name, way in others.items()}
    return ways


def peak_of(given: Mapping[str, Any]) -> float | str | None:
    """Mebibytes of a process of its own; or why there are none."""
    try:
        return measured_in_child([__file__, "--child", json.dumps(given)], given["name"])
    except PixgraphError as error:
        return str(error)


def report(result: Mapping[str, Any], name: str) -> str:
    """The body of the Markdown file."""
    given = result["settings"]
    rows = [row for one in result["growth"] for row in _rows(one)]
    at = next(one for one in result["growth"] if one["side"] == given["side"])["found"][OURS]
    median = spread(at["seconds"])["median_ms"]
    verdict = "below" if median < GOAL_MS else "above"
    return "\n\n".join(
        [
            f"{given['batch']} maps of {given['channels']} channels into {given['grid'] ** 2} segments, "
            f"{given['iterations']} iterations, device {given['device']}. The ways alternate in one process; a ratio "
            "is the median of the rounds' ratios, its quartiles in brackets. Peak memory: by how much a second call "
            "raises that of a process of its own. Equal: share of the pixels in the same segment as with pixgraph.",
            f"{given['batch']} x {given['side']} x {given['side']} x {given['channels']}: {median:.0f} ms, {verdict} "
            f"{GOAL_MS:.0f} ms.",
            "FAISS gives clusters that lost all pixels new ones; scikit-learn's means are Euclidean and stop early "
            "when nothing changes: both solve a slightly different problem.",
            table(["map", "way", "ms, median (quartiles)", "pixgraph is faster by", "peak, MB", "equal %"], rows),
            f"![time and memory by size]({name}.png)",
        ]
    )


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Time and peak memory by the number of pixels of a map."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    for name in (OURS, LOOPS, FAISS, SKLEARN):
        points = [(one["side"] ** 2, one["found"][name]) for one in result["growth"]]
        times = [(x, min(found["seconds"])) for x, found in points if found.get("seconds")]
        peaks = [(x, found["peak_mb"]) for x, found in points if isinstance(found.get("peak_mb"), float)]
        for axes, curve in zip(panels, (times, peaks), strict=True):
            if curve:
                axes.plot(*zip(*curve, strict=True), marker="o", label=name)
    for axes, text in zip(panels, ("seconds a batch", "peak memory, MB"), strict=True):
        axes.set(xscale="log", yscale="log", xlabel="pixels of a map", ylabel=text)
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def _rows(one: Mapping[str, Any]) -> list[list[str]]:
    rows, ours = [], one["found"][OURS]["seconds"]
    for name, found in one["found"].items():
        if "skipped" in found:
            rows.append([f"{one['side']} x {one['side']}", name, found["skipped"], "-", "-", "-"])
            continue
        peak = found.get("peak_mb")
        rows.append(
            [
                f"{one['side']} x {one['side']}",
                name,
                milliseconds(spread(found["seconds"])),
                "-" if name == OURS else ratio(found["seconds"], ours),
                f"{peak:.0f}" if isinstance(peak, float) else str(peak or "-"),
                f"{100 * found['equal']:.1f}",
            ]
        )
    return rows


def _seconds(step: Callable[[], torch.Tensor], device: str) -> float:
    start = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _child(given: Mapping[str, Any]) -> None:
    """Print the peak memory of one way, as JSON."""
    print(json.dumps(peak_growth(build_steps(given)[given["name"]], given["device"])[0]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(json.loads(sys.argv[2]))
    else:
        sys.exit(guarded(main))
