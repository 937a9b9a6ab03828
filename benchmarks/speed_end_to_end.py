"""Time and memory of a query with growing numbers of supports: graph methods against dense 4-D correlation.

    python benchmarks/speed_end_to_end.py --data ROOT

A 256 x 256 photograph (JPEG on disk) to its mask, split into decoding, backbone, graph, GNN, upsampling and the rest,
with K = 1 to 20 supports whose features are known. The dense correlation (`dense_correlation.py`, after HSNet) sees the
same features and is untrained: time and memory only. For each K all methods take turns in one process; memory is
measured in a process a method and K. With `--device cuda` the clock waits for the GPU at every stage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recording import MORE, measured_in_child, milliseconds, provenance, script_parser, table, write_result
from workbench import add_output_arguments, add_query_arguments, guarded

METHODS = ("graph", "propagate", "dense")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every K and write tables and plot; in a child, measure the memory of one method and print it."""
    args = parser().parse_args(argv)
    if args.child:
        from end_to_end_stages import measure_memory

        print(json.dumps(measure_memory(args)))
        return 0
    from end_to_end_stages import measure_times

    rows = []
    for supports in args.k:
        rows.append(measure_times(args, supports))
        for method, found in rows[-1]["methods"].items():
            found["memory"] = _child(args, method, supports)
            print(f"K = {supports}, {method}: {found['whole']['median_ms']} ms", file=sys.stderr)
    settings = {key: getattr(args, key) for key in ("size", "stride", "rounds")}
    result = {**provenance(args.data), **settings, "rows": rows}
    name = args.name or ("speed_end_to_end" if args.device == "cpu" else "speed_end_to_end_gpu")
    path = write_result(name, result, report(result, name), args.out)
    draw(result, path.with_suffix(".png"))
    print(path)
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add_query_arguments(made)
    add("--stride", type=int, default=8, help="node stride of the graph (default: %(default)s)")
    add("--k", type=int, nargs="+", default=[1, 2, 5, 10, 20], metavar="K", help="supports (default: 1 2 5 10 20)")
    add("--methods", nargs="+", default=list(METHODS), choices=METHODS, help="(default: all)")
    add("--rounds", type=int, default=15, help="rounds (default: %(default)s)")
    add("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    add("--child", metavar="METHOD", choices=METHODS, help=argparse.SUPPRESS)
    add_output_arguments(made)
    return made


def report(result: Mapping[str, Any], name: str) -> str:
    """Tables of times by K, of stages at each K, and of memory."""
    rows = result["rows"]
    methods = list(rows[0]["methods"])
    header = ["ms", *(f"K = {row['supports']}" for row in rows)]
    first = rows[0]
    parts = [
        f"One {result['size']} x {result['size']} query, 1 class, K supports, stride {result['stride']}, backbone "
        f"{first['backbone']}, {first['device']}. Milliseconds: median (quartiles) of {result['rounds']} rounds. The "
        "first query of a set of supports also learns the supports, whose features are known; the dense correlation "
        "has nothing to learn of them and does the same each time.",
        table(header, [(m, *(milliseconds(row["methods"][m]["whole"]) for row in rows)) for m in methods]),
        "First query of a set of supports:",
        table(header, [(m, *(milliseconds(row["methods"][m]["first_query"]) for row in rows)) for m in methods]),
        f"Time over that of {first['reference']}, round by round:",
        table(["ratio", *header[1:]], [(m, *(_ratio(row["methods"][m]["ratio"]) for row in rows)) for m in methods]),
        MORE,
    ]
    for method in methods:
        names = list(first["methods"][method]["stages"])
        cells = [(n, *(milliseconds(row["methods"][method]["stages"][n]) for row in rows)) for n in names]
        parts += [f"Stages of {method}:", table(header, cells)]
    parts += [
        "Memory, MB: peak of three queries minus what is resident with libraries, network and supports"
        + (", and the peak on the GPU, network and supports included:" if first["device"] != "cpu" else ":"),
        table(["MB", *header[1:]], [(m, *(_memory(row["methods"][m]["memory"]) for row in rows)) for m in methods]),
        f"![time by number of supports]({name}.png)",
    ]
    return "\n\n".join(parts)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Time of a query, of the first query, and memory, by K."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = result["rows"]
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    for method in rows[0]["methods"]:
        found = [row["methods"][method] for row in rows]
        k = [row["supports"] for row in rows]
        for axes, key in zip(panels, ("whole", "first_query"), strict=False):
            axes.plot(k, [one[key]["median_ms"] for one in found], "o-", label=method)
            axes.fill_between(k, *([one[key][q] for one in found] for q in ("q25_ms", "q75_ms")), alpha=0.2)
        panels[2].plot(k, [_beyond(one["memory"]) for one in found], "o-", label=method)
    for axes, title in zip(
        panels, ("ms a query, supports known", "ms of the first query", "MB beyond network and supports"), strict=True
    ):
        axes.set(title=title, xlabel="supports K")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(path, dpi=110)


def _ratio(one: Mapping[str, float]) -> str:
    return f"{one['median']:.2f} ({one['q25']:.2f}-{one['q75']:.2f})"


def _beyond(memory: Mapping[str, float]) -> float:
    return memory.get("gpu_peak_mb", max(0.0, memory["peak_mb"] - memory["before_mb"]))


def _memory(memory: Mapping[str, float]) -> str:
    beyond = f"{max(0.0, memory['peak_mb'] - memory['before_mb']):.0f}"
    return beyond + (f", GPU {memory['gpu_peak_mb']:.0f}" if "gpu_peak_mb" in memory else "")


def _child(args: argparse.Namespace, method: str, supports: int) -> dict[str, float]:
    words = [__file__, "--child", method, "--k", str(supports)]
    for key in ("data", "weights", "backbone", "run", "size", "stride", "device"):
        value = getattr(args, key)
        words += [] if value is None else [f"--{key}", str(value)]
    return measured_in_child(words, f"{method} with {supports} supports")


if __name__ == "__main__":
    sys.exit(guarded(main))
