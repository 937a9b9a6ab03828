"""Segments as nodes beside cells of pixels: accuracy on unseen classes, time and size of the graph.

    python benchmarks/segment_nodes.py --data ROOT [--runs runs/NAME]

All methods answer the same episodes. Times are those of a query with features given and segments not cut yet; the rows
take turns within every episode. `--split val` to choose, `--split test` to report.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recording import mean_and_deviation, percent, provenance, script_parser, table, write_result
from workbench import add_data_arguments, feature_store, guarded, open_split

from pixgraph.config import GraphConfig

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore
    from pixgraph.data.base import FewShotDataset
    from pixgraph.evaluation.result import Evaluation
    from pixgraph.models.predictor import Predictor


def main(argv: Sequence[str] | None = None) -> int:
    """Score all kinds of nodes and write the table."""
    args = parser().parse_args(argv)
    store = feature_store(args)
    graphs = graph_configs(args)
    dataset = open_split(args, args.split)
    evaluation = scored(args, dataset, store, predictors(args, graphs, store))
    whole = evaluation.to_dict()
    rows = {
        name: {
            "per_seed": [tally.score.miou() for tally in tallies],
            "fb_iou": whole["methods"][name]["fb_iou"],
            "ms_per_query": whole["methods"][name]["ms_per_query"],
        }
        for name, tallies in evaluation.tallies.items()
    }
    keys = ("dataset", "split", "k_shot", "episodes", "seeds", "size")
    result = {
        **provenance(args.data),
        "settings": {key: getattr(args, key) for key in keys},
        "backbone": whole["backbone"],
        "episode_hash": whole["episode_hash"],
        "nodes": {name: sizes(graph, dataset, store) for name, graph in graphs.items()},
        "methods": rows,
    }
    print(write_result(args.name or "segment_nodes", result, report(result), args.out))
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--runs", nargs="*", default=[], metavar="RUN", help="trained runs, also used as they are on segments")
    add("--segments", nargs="+", type=int, default=[400, 800], help="segments a picture, about (default: %(default)s)")
    add("--stride", nargs="+", type=int, default=[8], help="sides of the cells of pixels (default: %(default)s)")
    add("--split", default="val", choices=["train", "val", "test"], help="classes (default: %(default)s)")
    add("--k_shot", type=int, default=1, help="labelled pictures of a class (default: %(default)s)")
    add("--episodes", type=int, default=100, help="episodes a seed (default: %(default)s)")
    add("--seeds", type=int, default=2, help="number of seeds (default: %(default)s)")
    add_data_arguments(made)
    return made


def graph_configs(args: argparse.Namespace) -> dict[str, GraphConfig]:
    """The kinds of nodes by their names in the table."""
    cells = {f"cells of {n} x {n} pixels": GraphConfig(stride=n) for n in args.stride}
    return cells | {f"{n} segments": GraphConfig(nodes="segments", segments=n) for n in args.segments}


def predictors(args: argparse.Namespace, graphs: dict[str, GraphConfig], store: FeatureStore) -> dict[str, Predictor]:
    """The training-free graph, and every run, on all kinds of nodes.

    Raises:
        CheckpointError: A run does not load.
    """
    from pixgraph.models.predictor import GraphPredictor
    from pixgraph.models.propagate import PropagatePredictor
    from pixgraph.training.checkpoint import load_network

    made: dict[str, Predictor] = {f"propagate, {name}": PropagatePredictor(graph) for name, graph in graphs.items()}
    for run in args.runs:
        trained = load_network(run, store.device)
        for name, graph in graphs.items():
            made[f"{Path(run).name}, {name}"] = GraphPredictor(trained.network, graph)
    return made


def scored(
    args: argparse.Namespace, dataset: FewShotDataset, store: FeatureStore, methods: dict[str, Predictor]
) -> Evaluation:
    """The same episodes for all methods."""
    from pixgraph.data.protocols import get_protocol
    from pixgraph.evaluation.evaluate import evaluate
    from pixgraph.run_scores import first_seeds

    protocol = get_protocol("pixgraph-v1")
    seeds = first_seeds(protocol.seeds, args.seeds)
    shown = {"seeds": seeds, "episodes": args.episodes, "baselines": False}
    return evaluate(methods, dataset, store, protocol, 1, args.k_shot, **shown)


def sizes(graph: GraphConfig, dataset: FewShotDataset, store: FeatureStore, pictures: int = 8) -> dict[str, Any]:
    """Mean number of nodes and of edges among them, and the time to find the nodes, over some pictures."""
    from pixgraph.graph.picture_nodes import neighbour_block, picture_nodes

    step = max(1, len(dataset) // pictures)
    nodes, edges, seconds = [], [], []
    for index in range(0, len(dataset), step):
        picture = store.picture(dataset, index)
        # A trace of noise, so that the segments are not remembered.
        fresh = dataclasses.replace(picture, rgb=picture.rgb + 1e-7)
        start = time.perf_counter()
        found = picture_nodes(fresh, graph, 0, None)
        seconds.append(time.perf_counter() - start)
        nodes.append(len(found))
        edges.append(len(neighbour_block(found, graph)))
    count = len(nodes)
    return {"nodes": sum(nodes) / count, "edges": sum(edges) / count, "ms": round(1000 * min(seconds), 2)}


def report(result: dict[str, Any]) -> str:
    """The tables of a result."""
    settings = result["settings"]
    head = [
        f"{settings['dataset']}, {settings['split']} classes, {settings['k_shot']}-shot",
        "mIoU %",
        "FB-IoU %",
        "ms",
    ]
    rows = [
        [name, percent(*mean_and_deviation(m["per_seed"])), percent(m["fb_iou"]), f"{m['ms_per_query']:.0f}"]
        for name, m in result["methods"].items()
    ]
    graphs = [
        [name, f"{found['nodes']:.0f}", f"{found['edges']:.0f}", f"{found['ms']:.1f}"]
        for name, found in result["nodes"].items()
    ]
    note = (
        f"Mean ± standard deviation over {settings['seeds']} seeds of {settings['episodes']} episodes, the same for "
        "all rows. ms: a query with features given; segments of a picture are cut once and then remembered."
    )
    sizes_of = table(["a query's nodes", "nodes", "edges among them", "ms to find the nodes"], graphs)
    return f"{table(head, rows)}\n\n{note}\n\n{sizes_of}"


if __name__ == "__main__":
    raise SystemExit(guarded(main))
