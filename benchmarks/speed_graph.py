"""Time and memory of building the task graph of a new picture, beside other ways to build the same, and their growth.

    python benchmarks/speed_graph.py

A query of 256 x 256 nodes (stride 1), 5 known supports of 512 nodes, dilations 1, 2 and 4, 8 support edges a query
node, edge features included. Builders alternate within each round, and every build takes another picture than the one
before. `--recall ade20k-objects camvid --data ROOT` adds how many of the exact neighbours `graph.knn_block` finds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from graph_cases import Builder, Case, Scene, pixgraph_builder, whole_task_builder
from graph_memory import measure_apart
from graph_peers import loop_builder, networkx_builder, numpy_dgl_builder, pyg_builder, rag_builder
from graph_recall import recall_on
from graph_report import draw, report
from recording import provenance, script_parser, spread, write_result
from workbench import add_data_arguments, guarded

from pixgraph.errors import ConfigError

FULL = {"pixgraph": pixgraph_builder, "NumPy + DGL": numpy_dgl_builder, "PyG": pyg_builder}
SLOW = {"Python loops": loop_builder, "NetworkX": networkx_builder, "scikit-image RAG": rag_builder}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the tables and the plot."""
    args = parser().parse_args(argv)
    if min(args.side, args.small, *args.sides) < 16:
        raise ConfigError("--side, --small, --sides: expected 16 or more, so that all dilations fit")
    base = Case(args.side, shots=args.supports)
    rows = [row for case in target_cases(base) for row in timed(case, builders_of(case), args.rounds)]
    rows += timed(base, {"pixgraph, supports new too": whole_task_builder}, args.rounds)
    bare = Case(args.small, (1,), drawn=0, shots=0)
    lists = {name: SLOW[name] for name in ("NetworkX", "scikit-image RAG")}
    result = {
        **provenance(args.data),
        "threads": torch.get_num_threads(),
        "target": rows,
        "small": timed(bare, {"pixgraph": pixgraph_builder, **lists}, args.rounds)
        + timed(
            replace(base, side=args.small), {"pixgraph": pixgraph_builder, "Python loops": loop_builder}, args.rounds
        ),
        "growth": growth(base, args),
        "memory": measure_apart(memory_cases(base, args)),
        "recall": [row for name in args.recall for k in (4, 8) for row in recall_on(args, name, args.episodes, k)],
    }
    path = write_result(args.name or "speed_graph", result, report(result), args.out)
    draw(result, path.with_suffix(".png"))
    print(path)
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--side", type=int, default=256, help="nodes a side of the query (default: %(default)s)")
    add("--small", type=int, default=64, help="the same for what is too slow beyond (default: %(default)s)")
    add("--sides", type=int, nargs="+", default=[32, 64, 128, 256, 512, 1024], help="for the growth (default: to 1024)")
    add("--supports", type=int, default=5, help="labelled pictures (default: %(default)s)")
    add("--rounds", type=int, default=9, help="rounds; a third of them from 512 nodes a side on (default: %(default)s)")
    add("--recall", nargs="*", default=[], metavar="DATASET", help="measure the recall of knn_block on these")
    add("--episodes", type=int, default=10, help="episodes a data set for that (default: %(default)s)")
    add_data_arguments(made)
    return made


def target_cases(base: Case) -> list[Case]:
    """8 support edges: random; half of them nearest, or all, by blocks and exactly."""
    mixed = [replace(base, drawn=8 - k, nearest=k, block=b) for k in (4, 8) for b in (8, 4, 1)]
    return [base, *mixed]


def builders_of(case: Case) -> dict[str, Any]:
    """Those that build this case: PyG has no neighbours without torch_cluster."""
    return {name: make for name, make in FULL.items() if not (case.nearest and name == "PyG")}


def growth(base: Case, args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Times over nodes, sets of dilations and support edges."""

    def over(cases: Sequence[Case]) -> list[dict[str, Any]]:
        return [row for case in cases for row in timed(case, builders_of(case), rounds_at(case, args))]

    return {
        "nodes": over([replace(base, side=side) for side in args.sides]),
        "dilations": over([replace(base, dilations=d) for d in ((1,), (1, 2), (1, 2, 4), (1, 2, 4, 8))]),
        "partners": over([replace(base, drawn=n) for n in (2, 4, 8, 16, 32)]),
    }


def rounds_at(case: Case, args: argparse.Namespace) -> int:
    """Fewer rounds for large cases."""
    return args.rounds if case.side < 512 else max(2, args.rounds // 3)


def memory_cases(base: Case, args: argparse.Namespace) -> list[tuple[str, Case]]:
    """Builder and case: the target, and pixgraph and its peers over nodes."""
    target = [("pixgraph", case) for case in target_cases(base)]
    return target + [(name, replace(base, side=side)) for side in args.sides for name in FULL]


def timed(case: Case, makers: Mapping[str, Any], rounds: int) -> list[dict[str, Any]]:
    """Times of several builders of one case, alternating; the first round is not counted.

    Returns:
        For each builder: the case, nodes and edges, ``time`` (a `spread`), and ``times_as_long``: median and quartiles
        of its time over that of the first builder, round by round.
    """
    scene = Scene(case)
    builders: dict[str, Builder] = {name: make(scene) for name, make in makers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in builders}
    edges = dict.fromkeys(builders, 0)
    for i in range(rounds + 1):
        for j, (name, build) in enumerate(builders.items()):
            query = scene.pictures[(i + j) % len(scene.pictures)]
            begin = time.perf_counter()
            graph = build(query)
            seconds[name].append(time.perf_counter() - begin)
            edges[name] = _edges(graph)
            del graph
    first = next(iter(builders))
    rows = []
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(values[1:], seconds[first][1:], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        rows.append(
            {
                "builder": name,
                "case": asdict(case),
                "nodes": case.side**2,
                "edges": edges[name],
                "time": spread(values[1:]),
                "times_as_long": {"median": round(middle, 3), "q25": round(low, 3), "q75": round(high, 3)},
            }
        )
    return rows


def _edges(graph: Any) -> int:
    """Number of edges; an undirected one counts twice."""
    if isinstance(graph, tuple):
        return int(graph[0].shape[1])
    if hasattr(graph, "edge_index"):
        return int(graph.edge_index.shape[1])
    return int(graph.num_edges()) if hasattr(graph, "num_edges") else 2 * graph.number_of_edges()


if __name__ == "__main__":
    sys.exit(guarded(main))
