"""The ReCo loss, forward and backward, beside the loops that its authors' code and reproductions of it use.

    python benchmarks/speed_reco.py

`--device cuda` measures the same on a GPU.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pretrain_measure import MEMORY_SHARE, available_mb, peak_growth
from pretrain_report import ratio
from reco_loop import Problem, loop_reco, make_problem
from recording import measured_in_child, milliseconds, provenance, script_parser, spread, table, write_result
from workbench import add_output_arguments, guarded, parsed

from pixgraph.errors import PixgraphError
from pixgraph.losses.reco import reco_loss

OURS, DRAWS, ALL = "pixgraph", "loops for the draws", "loops for draws and queries"
QUICK: dict[str, Any] = {
    "heights": [16, 24],
    "height": 24,
    "channels": 8,
    "queries": 4,
    "negatives": 8,
    "rounds": 1,
    "growth_rounds": 1,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the table and the plot."""
    args = parsed(parser, argv, QUICK)
    growth = [measure(height, args) for height in sorted({args.height, *args.heights})]
    result = {**provenance(), "settings": settings(args), "growth": growth}
    name = args.name or "speed_reco"
    path = write_result(name, result, report(result, name), args.out)
    draw(result, path.with_suffix(".png"))
    print(path)
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--batch", type=int, default=4, help="pictures (default: %(default)s)")
    add("--classes", type=int, default=11, help="classes, all present (default: %(default)s)")
    add("--height", type=int, default=120, help="rows of the map, 3/4 of its columns (default: %(default)s)")
    add("--heights", type=int, nargs="*", default=[30, 60, 240], help="other maps (default: 30 60 240)")
    add("--channels", type=int, default=256, help="length of a vector (default: %(default)s)")
    add("--queries", type=int, default=256, help="queries a class (default: %(default)s)")
    add("--negatives", type=int, default=512, help="negatives a query (default: %(default)s)")
    add("--rounds", type=int, default=5, help="rounds at the default map (default: %(default)s)")
    add("--growth_rounds", type=int, default=3, help="rounds at the others (default: %(default)s)")
    add("--device", default="cpu", choices=["cpu", "cuda"], help="where (default: %(default)s)")
    add("--no_memory", action="store_true", help="leave out peak memory, which needs a process for each")
    add("--quick", action="store_true", help="tiny sizes, to see that it runs; its numbers mean nothing")
    add_output_arguments(made)
    return made


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What defines the problem, and is handed to a process that measures memory."""
    names = ("batch", "classes", "height", "channels", "queries", "negatives", "device")
    return {name: getattr(args, name) for name in names}


def measure(height: int, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak memory of each way at a map; of the loops, less at other maps than the default one."""
    given = {**settings(args), "height": height}
    default = height == args.height
    names = (OURS, DRAWS, ALL) if default else (OURS, DRAWS)
    steps = build_steps(given)
    found: dict[str, Any] = {name: {"seconds": []} for name in names}
    found |= {name: {"skipped": "measured at the default map only"} for name in steps if name not in names}
    for name in names[:2]:
        steps[name]()  # threads start, memory is there
    for _ in range(args.rounds if default else args.growth_rounds):
        for name in names:
            found[name]["seconds"].append(_seconds(steps[name]))
    del steps
    for name in () if args.no_memory else names if default else (OURS,):
        found[name]["peak_mb"] = peak_of({**given, "name": name})
    return {"height": height, "width": columns(height), "found": found}


def columns(height: int) -> int:
    """Of a map with so many rows."""
    return height * 4 // 3


def build_steps(given: Mapping[str, Any]) -> dict[str, Callable[[], None]]:
    """Forward and backward by each way."""
    size = (given["batch"], given["classes"], given["height"], columns(given["height"]), given["channels"])
    problem = make_problem(*size, device=given["device"])
    generator = torch.Generator(given["device"]).manual_seed(0)
    counts = {"num_queries": given["queries"], "num_negatives": given["negatives"]}
    losses: dict[str, Callable[[], torch.Tensor]] = {
        OURS: lambda: reco_loss(*problem, generator=generator, **counts).value,
        DRAWS: lambda: loop_reco(problem, **counts),
        ALL: lambda: loop_reco(problem, one_by_one=True, **counts),
    }
    return {name: partial(_step, problem, loss) for name, loss in losses.items()}


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
    return "\n\n".join(
        [
            f"Forward and backward; {given['batch']} pictures, {given['classes']} classes, vectors of "
            f"{given['channels']}, {given['queries']} queries a class, {given['negatives']} negatives a query, device "
            f"{given['device']}. The ways alternate in one process; a ratio is the median of the rounds' ratios, its "
            "quartiles in brackets. Peak memory: by how much a second step raises that of a process of its own.",
            f"{DRAWS.capitalize()}: Python loops over queries and classes draw the negatives, as in the authors' code; "
            "the cosines of a class are computed at once. "
            f"{ALL.capitalize()}: these are computed query by query, too.",
            table(["map", "way", "ms, median (quartiles)", "pixgraph is faster by", "peak, MB"], rows),
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
    for name in (OURS, DRAWS, ALL):
        points = [(one["height"] * one["width"], one["found"][name]) for one in result["growth"]]
        times = [(x, min(found["seconds"])) for x, found in points if found.get("seconds")]
        peaks = [(x, found["peak_mb"]) for x, found in points if isinstance(found.get("peak_mb"), float)]
        for axes, curve in zip(panels, (times, peaks), strict=True):
            if curve:
                axes.plot(*zip(*curve, strict=True), "o-", label=name)
    for axes, title in zip(panels, ("seconds, forward and backward", "peak memory, MB"), strict=True):
        axes.set(xscale="log", yscale="log", xlabel="pixels of a map", title=title)
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def _rows(one: Mapping[str, Any]) -> list[list[Any]]:
    rows = []
    for name, found in one["found"].items():
        where = [f"{one['height']} x {one['width']}", name]
        if "skipped" in found:
            rows.append([*where, found["skipped"], "-", "-"])
            continue
        faster = "-" if name == OURS else ratio(found["seconds"], one["found"][OURS]["seconds"])
        peak = found.get("peak_mb")
        shown = "-" if peak is None else peak if isinstance(peak, str) else f"{peak:,.0f}"
        rows.append([*where, milliseconds(spread(found["seconds"])), faster, shown])
    return rows


def _step(problem: Problem, loss: Callable[[], torch.Tensor]) -> None:
    value = loss()
    value.backward()
    value.item()  # a GPU has finished
    problem.representation.grad = None  # counts in the peak of the next step, not in what was there before


def _seconds(step: Callable[[], None]) -> float:
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def _child(text: str) -> None:
    given = json.loads(text)
    if available_mb() != float("inf") and given["device"] == "cpu":
        # The step shall fail, not the machine.
        limit = int(MEMORY_SHARE * available_mb() * 2**20)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    step = build_steps(given)[given["name"]]
    print(json.dumps(peak_growth(step, given["device"])[0]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2])
    else:
        sys.exit(guarded(main))
