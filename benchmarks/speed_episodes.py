"""Episodes a second of evaluation on cached features, with loading, prediction, resizing and counting.

    python benchmarks/speed_episodes.py --data ROOT [--run runs/NAME]

Each method is evaluated alone: first with the features on disk only, then with them in memory.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recording import provenance, script_parser, spread, table, write_result
from workbench import add_data_arguments, feature_store, guarded, open_split

from pixgraph.config import GraphConfig, ModelConfig
from pixgraph.errors import ConfigError

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore
    from pixgraph.data.base import FewShotDataset
    from pixgraph.data.protocols import Protocol
    from pixgraph.models.predictor import Predictor


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every number of shots and method, and write the table."""
    args = parser().parse_args(argv)
    if not args.cache:
        raise ConfigError("--cache: got no folder, expected one: this measures evaluation on cached features")
    rows = [row for k_shot in args.k_shot for row in measure(args, k_shot)]
    result = {**provenance(args.data), "episodes": args.episodes, "rows": rows}
    print(write_result(args.name or "speed_episodes", result, report(result), args.out))
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--run", metavar="RUN", help="a trained run; none: an untrained network, which costs the same")
    add("--split", default="test", choices=["train", "val", "test"], help="classes (default: %(default)s)")
    add("--stride", type=int, default=8, help="node stride (default: %(default)s)")
    add("--n_way", type=int, default=1, help="classes in an episode (default: %(default)s)")
    add("--k_shot", type=int, nargs="+", default=[1, 5], metavar="K", help="labelled pictures a class (default: 1 5)")
    add("--episodes", type=int, default=100, help="episodes a round (default: %(default)s)")
    add("--rounds", type=int, default=3, help="rounds in memory (default: %(default)s)")
    add_data_arguments(made)
    return made


def measure(args: argparse.Namespace, k_shot: int) -> list[dict[str, Any]]:
    """One row a method: episodes a second from disk and from memory, and how often the backbone ran meanwhile."""
    from pixgraph.data.protocols import get_protocol

    protocol = replace(get_protocol("pixgraph-v1"), episodes=args.episodes)
    dataset = open_split(args, args.split)
    episodes = protocol.episode_list(dataset, args.n_way, k_shot, 0)
    used = {i for episode in episodes for way in (*episode.support, episode.query) for i in way}
    feature_store(args).warm(dataset, sorted(used), progress=False)
    found = []
    for name in ("graph", "propagate", "prototype"):
        store = feature_store(args)
        method = predictor(args, name, store)
        disk = _seconds(method, dataset, store, protocol, args, k_shot)
        memory = [_seconds(method, dataset, store, protocol, args, k_shot) for _ in range(args.rounds)]
        middle = spread(memory)["median_ms"] / 1000
        found.append(
            {
                "method": name,
                "n_way": args.n_way,
                "k_shot": k_shot,
                "stride": args.stride,
                "per_second_from_disk": round(args.episodes / disk, 2),
                "per_second_in_memory": round(args.episodes / middle, 2),
                "rounds_in_memory": [round(args.episodes / seconds, 2) for seconds in memory],
                "backbone_calls": store.computed,
            }
        )
    return found


def predictor(args: argparse.Namespace, name: str, store: FeatureStore) -> Predictor:
    """A method at the stride of the arguments."""
    import torch

    from pixgraph.methods import training_free
    from pixgraph.models.network import PixGraphNet
    from pixgraph.models.predictor import GraphPredictor
    from pixgraph.training.checkpoint import load_network

    if name != "graph":
        return training_free(name, GraphConfig(stride=args.stride))
    if args.run:
        trained = load_network(args.run)
        return GraphPredictor(trained.network, replace(trained.config.graph, stride=args.stride))
    torch.manual_seed(0)
    return GraphPredictor(
        PixGraphNet(store.backbone.channels, ModelConfig(), store.backbone.strides), GraphConfig(stride=args.stride)
    )


def report(result: Mapping[str, Any]) -> str:
    """The table."""
    rows = [
        (
            one["method"],
            f"{one['n_way']}-way {one['k_shot']}-shot",
            one["stride"],
            one["per_second_from_disk"],
            one["per_second_in_memory"],
            f"{min(one['rounds_in_memory'])}-{max(one['rounds_in_memory'])}",
            one["backbone_calls"],
        )
        for one in result["rows"]
    ]
    header = ["method", "episodes", "stride", "from disk, 1/s", "in memory, 1/s", "range", "backbone calls"]
    return (
        f"Episodes of one query a second in one process, {result['episodes']} episodes a round, masks read from their "
        "files and answers scored at the original size in each.\n\n" + table(header, rows)
    )


def _seconds(
    method: Predictor,
    dataset: FewShotDataset,
    store: FeatureStore,
    protocol: Protocol,
    args: argparse.Namespace,
    k_shot: int,
) -> float:
    from pixgraph.evaluation.evaluate import evaluate

    begin = time.perf_counter()
    evaluate({"x": method}, dataset, store, protocol, args.n_way, k_shot, seeds=[0], baselines=False, progress=False)
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(guarded(main))
