"""Nearest neighbours: pixgraph's exact search beside nine others, and approximate ones with their recall.

    python benchmarks/speed_knn.py

FAISS, SciPy, torch, DGL, scikit-learn and PyNNDescent on d = 5, 32, 64, 320 and 1,000 to 200,000 points, alternating in
one process. What is predicted to take longer than `--limit` is listed as too slow. `pip install pixgraph[bench]`
installs those that pixgraph does not need; the ones that are absent are listed as such.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from knn_data import KINDS, Case
from knn_measure import measure, memory
from knn_peers import METHODS
from knn_report import draw, report, summary
from recording import provenance, write_result
from workbench import add_output_arguments, guarded

from pixgraph.errors import ConfigError

MEMORY_POINTS = {5: 50_000, 64: 20_000}
"""Dimensions and number of points at which memory is measured."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every point, and write tables and plot."""
    args = parser().parse_args(argv)
    if args.quick:
        args.points, args.dimensions, args.other_k, args.budget = [300, 600], [5, 32], [], 0.0
    if min(args.points) <= max(args.k, *args.other_k, 39):
        raise ConfigError(f"--points: got {min(args.points)}, expected more than the neighbours, and than 39")
    threads = torch.get_num_threads()
    warm_up(args)
    torch.set_num_threads(threads)
    rows = []
    history: dict[tuple[str, int], dict[str, list[tuple[Case, float]]]] = {}
    clock = time.process_time if args.cpu_time else time.perf_counter
    for case in cases(args):
        past = history.setdefault((case.kind, case.d), {})
        rows.append(measure(case, METHODS, past, args.limit, args.budget, clock))
        one = summary(rows[-1])
        print(f"{case}: {one['ours_ms']:.1f} ms, {one['ratio']:.2f} x {one['best']}", flush=True)
    result = {
        **provenance(),
        "threads": torch.get_num_threads(),
        "clock": "CPU time of the process" if args.cpu_time else "wall time",
        "limit_s": args.limit,
        "rows": rows,
        "memory": [] if args.no_memory or args.quick else memory(memory_cases(rows, args), 300),
    }
    path = write_result(args.name or "speed_knn", result, report(result), args.out)
    draw(result, path.with_suffix(".png"))
    print(path)
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    sizes = [1_000, 5_000, 20_000, 50_000, 200_000]
    add("--points", type=int, nargs="+", default=sizes, metavar="N", help="numbers of points (default: to 200000)")
    add("--dimensions", type=int, nargs="+", default=[5, 32, 64, 320], metavar="D", help="(default: 5 32 64 320)")
    add("--kinds", nargs="+", default=list(KINDS), choices=KINDS, help="data (default: both)")
    add("--k", type=int, default=8, help="neighbours (default: %(default)s)")
    add("--other_k", type=int, nargs="*", default=[32], metavar="K", help="more at 20,000 points (default: 32)")
    add("--work", type=float, default=5e10, help="multiplications at most; else fewer ask (default: %(default)g)")
    add("--limit", type=float, default=2.0, help="seconds a search may take (default: %(default)s)")
    add("--budget", type=float, default=5.0, help="seconds for the rounds of a point (default: %(default)s)")
    add("--cpu_time", action="store_true", help="CPU time: for one thread on a busy machine (OMP_NUM_THREADS=1)")
    add("--no_memory", action="store_true", help="do not measure memory")
    add("--quick", action="store_true", help="a few hundred points, three rounds: to see that it works")
    add_output_arguments(made)
    return made


def cases(args: argparse.Namespace) -> Iterator[Case]:
    """Every point, smaller ones first."""
    for kind in args.kinds:
        for d in args.dimensions:
            for n in args.points:
                # Trees are asked by all points: their time hardly depends on the pairs.
                asked = n if d <= 8 else int(min(n, args.work / (n * d)))
                for k in (args.k, *(args.other_k if n == 20_000 else ())):
                    yield Case(kind, d, n, asked, k)


def memory_cases(rows: Sequence[dict[str, Any]], args: argparse.Namespace) -> list[tuple[Case, list[str]]]:
    """Cases on photographs for memory, with the searches that were timed there."""
    found = []
    for row in rows:
        case = Case(*(row[key] for key in ("kind", "d", "n", "queries", "k")))
        if case.kind == "photo" and case.k == args.k and MEMORY_POINTS.get(case.d) == case.n:
            found.append((case, [name for name, one in row["found"].items() if "seconds" in one]))
    return found


def warm_up(args: argparse.Namespace) -> None:
    """Import, compile and start threads, before anything is timed."""
    from knn_data import data

    for case in (Case("noise", args.dimensions[0], 200, 200, 4), Case("noise", args.dimensions[-1], 200, 100, 4)):
        for method in METHODS.values():
            if method.refuses(case) is None:
                method.run(*data(case), case)


if __name__ == "__main__":
    sys.exit(guarded(main))
