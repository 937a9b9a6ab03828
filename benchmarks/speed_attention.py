"""Time and memory of a layer of attention with edge features, ours against the layers of DGL and PyG, and their growth.

python benchmarks/speed_attention.py
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from attention_measure import MEMORY_SHARE, available_mb, memory_of, time_layers
from attention_peers import COMPILED, METHODS, OPERATORS
from attention_problem import Problem
from attention_report import draw, report
from recording import provenance, script_parser, write_result
from workbench import add_output_arguments, guarded, parsed

from pixgraph.errors import ConfigError

QUICK = {"side": 16, "sides": [12, 16], "small": 12, "dilations": [1, 2], "channels": 16, "heads": 2, "widths": [16]}
"""Sizes of ``--quick``."""

LARGE_SIDE = 512
"""The largest lattice whose memory is measured."""

CHILD_SECONDS = 300
"""After how long the measuring of one layer's memory is given up."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the tables and the plot."""
    args = parsed(parser, argv, QUICK | {"rounds": 2, "growth_rounds": 1, "no_compile": True})
    if min([args.side, *args.sides]) <= 8:
        raise ConfigError("--side, --sides: expected more than 8, the longest edges of the lattice")
    if args.channels % args.heads:
        raise ConfigError(f"--channels: got {args.channels}, expected a multiple of --heads {args.heads}")
    base = Problem(args.side, 4, args.channels, args.heads, args.device)
    compiled = {} if args.no_compile else COMPILED
    default = point(base, args.rounds, time_layers(base, {**METHODS, **compiled, **OPERATORS}, args.rounds, {}))
    memory = measure_memory(base, default["layers"], args)
    result = {
        **provenance(),
        "default": default,
        "memory": memory,
        "growth": {
            "nodes": grow(base, [replace(base, side=s) for s in args.sides], default, memory, args),
            "edges": grow(
                base, [replace(base, side=args.small, dilations=d) for d in args.dilations], default, {}, args
            ),
            "channels": grow(
                base, [replace(base, side=args.small, channels=c) for c in args.widths], default, {}, args
            ),
        },
    }
    path = write_result(args.name or "speed_attention", result, report(result), args.out)
    draw(result, path.with_suffix(".png"))
    print(path)
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--side", type=int, default=224, help="nodes in a row of the default lattice (default: %(default)s)")
    add("--channels", type=int, default=64, help="width of the default layer (default: %(default)s)")
    add("--heads", type=int, default=4, help="attention heads (default: %(default)s)")
    add("--sides", type=int, nargs="*", default=[32, 64, 128, 224, 512, 1024], help="lattices, for growth in nodes")
    add("--small", type=int, default=96, help="lattice for growth in edges and channels (default: %(default)s)")
    add("--dilations", type=int, nargs="*", default=[1, 2, 4, 8], help="how many, for growth in edges")
    add("--widths", type=int, nargs="*", default=[16, 32, 64, 128], help="channels, for growth in channels")
    add("--rounds", type=int, default=5, help="rounds at the default (default: %(default)s)")
    add("--growth_rounds", type=int, default=3, help="rounds at the others (default: %(default)s)")
    add("--limit", type=float, default=8.0, help="seconds a pass beyond which a layer is left out (default: 8)")
    add("--device", default="cpu", choices=["cpu", "cuda"], help="where (default: %(default)s)")
    add("--quick", action="store_true", help="tiny sizes, to see that it runs; its numbers mean nothing")
    add("--no_compile", action="store_true", help="leave out torch.compile, which takes minutes")
    add("--no_memory", action="store_true", help="leave out peak memory, which needs a process for each layer")
    add_output_arguments(made)
    return made


def point(problem: Problem, rounds: int, layers: dict[str, Any]) -> dict[str, Any]:
    """What was measured at a problem, with its sizes."""
    sizes = asdict(problem) | {"nodes": problem.nodes, "edges": len(problem.edges[0])}
    return {**sizes, "rounds": rounds, "layers": layers}


def grow(
    base: Problem, problems: list[Problem], default: dict[str, Any], memory: dict[str, Any], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """The layers at each problem; those that would be too slow or too large, judged by the default, are left out."""
    found = []
    for problem in problems:
        if problem == base:
            found.append(default | {"layers": {name: default["layers"][name] for name in METHODS}})
            continue
        skip = too_much(problem.work / base.work, default["layers"], memory, args.limit)
        layers = time_layers(problem, METHODS, args.growth_rounds, skip)
        found.append(point(problem, args.growth_rounds, layers))
    return found


def too_much(ratio: float, layers: dict[str, Any], memory: dict[str, Any], limit: float) -> dict[str, str]:
    """Why a layer is left out of a problem that is `ratio` times the default: name to reason."""
    free, found = available_mb(), {}
    for name, one in layers.items():
        if "skipped" in one:
            found[name] = one["skipped"]
            continue
        seconds = ratio * min(one["both"])
        megabytes = ratio * (memory.get(name, [{}])[0].get("peak_mb") or 0)
        if seconds > limit:
            found[name] = f"predicted {seconds:.0f} s a pass"
        elif megabytes > MEMORY_SHARE * free:
            found[name] = f"predicted {megabytes / 1024:.0f} GiB"
    return found


def measure_memory(base: Problem, layers: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of each layer at the default, and at smaller and larger lattices where the time allows."""
    if args.no_memory:
        return {}
    found = {}
    for name, one in layers.items():
        if "skipped" in one or name in OPERATORS:
            continue
        others = [] if name in COMPILED else [s for s in sorted(args.sides) if args.side != s <= LARGE_SIDE]
        larger = [replace(base, side=s) for s in others]
        problems = [base, *(p for p in larger if p.work / base.work * min(one["both"]) < args.limit)]
        peaks = memory_of(name, problems, CHILD_SECONDS)
        found[name] = [{"nodes": p.nodes, **peak} for p, peak in zip(problems, peaks, strict=True)]
    return found


if __name__ == "__main__":
    sys.exit(guarded(main))
