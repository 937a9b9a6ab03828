"""Time and memory of one query, stage by stage, against the forward pass of the backbone in the same process.

    python benchmarks/speed_query.py --weights FILE

A 256 x 256 photograph (JPEG on disk) with 5 labelled supports, already known to the method. Each setting runs in
processes of its own, so that its peak memory is its own; in each round the stages and the whole of `pixgraph predict`'s
work on a query alternate. Several processes, because where its memory happens to lie makes one up to a third faster
than the next.
"Beyond the backbone" is everything but the backbone's forward pass: decoding, graph, network and resizing. The same
network as torchvision runs it is timed in each round, too: it is what the rest is compared with.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from recording import (
    measured_in_child,
    milliseconds,
    provenance,
    ratio,
    script_parser,
    spread,
    table,
    write_result,
)
from workbench import add_output_arguments, add_query_arguments, guarded

METHODS = ("graph", "propagate")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every setting and write the tables; in a child, measure one and print it."""
    args = parser().parse_args(argv)
    if args.child:
        from query_stages import measure

        print(json.dumps(measure(args)))
        return 0
    settings = [
        pooled([_child(args, method, stride) for _ in range(args.processes)])
        for stride in args.strides
        for method in args.methods
    ]
    result = {**provenance(args.data), "settings": settings}
    print(write_result(args.name or "speed_query", result, report(result), args.out))
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add_query_arguments(made)
    add("--supports", type=int, default=5, help="labelled pictures (default: %(default)s)")
    add("--strides", type=int, nargs="+", default=[8, 1], help="node strides (default: 8 1)")
    add("--methods", nargs="+", default=list(METHODS), choices=METHODS, help="(default: all)")
    add("--device", default="cpu", help="cpu, or cuda, whose memory is not measured (default: %(default)s)")
    add("--rounds", type=int, default=30, help="rounds at the first stride, a third of them at others (default: 30)")
    add("--processes", type=int, default=1, help="how many a setting, whose rounds are put together (default: 1)")
    add("--child", metavar="METHOD", choices=METHODS, help=argparse.SUPPRESS)
    add_output_arguments(made)
    return made


def pooled(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians, quartiles and ratios over the rounds of all processes of a setting; memory is the largest.

    Args:
        parts: What `query_stages.measure` gave in each.
    """
    joined = {key: [x for part in parts for x in part[key]] for key in ("beyond", "whole", "first_query", "peer")}
    stages = {name: spread([x for part in parts for x in part["stages"][name]]) for name in parts[0]["stages"]}
    most = {key: max(part[key] for part in parts) for key in ("memory_before_mb", "peak_memory_mb")}
    return {
        **parts[0],
        "stages": stages,
        **{key: spread(seconds) for key, seconds in joined.items()},
        "ratio": ratio(joined["beyond"], joined["peer"]),
        "whole_ratio": ratio(joined["whole"], joined["peer"]),
        "ratio_by_process": [ratio(part["beyond"], part["peer"])["median"] for part in parts],
        **most,
    }


def report(result: Mapping[str, Any]) -> str:
    """Tables of times, ratios and memory."""
    settings = result["settings"]
    names = list(dict.fromkeys(name for one in settings for name in one["stages"]))
    titles = [f"{one['method']}, stride {one['stride']}" for one in settings]
    stages = [
        (name, *(milliseconds(one["stages"][name]) if name in one["stages"] else "-" for one in settings))
        for name in names
    ]
    sums = [
        ("beyond the backbone", *(milliseconds(one["beyond"]) for one in settings)),
        ("whole query", *(milliseconds(one["whole"]) for one in settings)),
        ("first query of a support set", *(milliseconds(one["first_query"]) for one in settings)),
        ("torchvision's forward pass", *(milliseconds(one["peer"]) for one in settings)),
    ]
    rows = [
        (
            title,
            *(f"{one[k]['median']:.2f} ({one[k]['q25']:.2f}-{one[k]['q75']:.2f})" for k in ("ratio", "whole_ratio")),
            ", ".join(f"{value:.2f}" for value in one["ratio_by_process"]),
            f"{one['nodes']}",
            f"{one['edges']}",
            f"{one['memory_before_mb']:.0f}",
            f"{one['peak_memory_mb']:.0f}",
        )
        for title, one in zip(titles, settings, strict=True)
    ]
    first = settings[0]
    columns = ["beyond, ratio in each process", "nodes", "edges", "memory before, MB", "peak, MB"]
    return "\n\n".join(
        [
            f"One {first['size']} x {first['size']} query with {first['supports']} supports, 1 class, backbone "
            f"{first['backbone']}, {first['device']}, {first['threads']} threads. Milliseconds: median (quartiles) of "
            f"{' / '.join(str(one['whole']['rounds']) for one in settings)} rounds; "
            f"processes a setting: {len(first['ratio_by_process'])}. The stages of a round are timed "
            "one after the other, `whole query` is the same work through the public classes. What the supports need is "
            "done once for all their queries: the first query of a set pays for it, but for the supports' own forward "
            "passes.",
            table(["ms", *titles], [*stages, *sums]),
            "Ratios to the forward pass of the same network (up to the last level used) as torchvision runs it, round "
            "by round: of everything beyond pixgraph's own pass, and of the whole query. Memory: resident, of the "
            "whole process with its libraries; before = after loading network and supports.",
            table(["setting", "beyond, ratio", "whole query, ratio", *columns], rows),
        ]
    )


def _child(args: argparse.Namespace, method: str, stride: int) -> dict[str, Any]:
    rounds = args.rounds if stride == args.strides[0] else max(3, args.rounds // 3)
    words = [__file__, "--child", method, "--strides", str(stride), "--rounds", str(rounds)]
    for key in ("data", "weights", "backbone", "run", "size", "supports", "device"):
        value = getattr(args, key)
        words += [] if value is None else [f"--{key}", str(value)]
    return measured_in_child(words, f"{method} at stride {stride}")


if __name__ == "__main__":
    sys.exit(guarded(main))
