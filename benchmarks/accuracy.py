"""Accuracy on unseen classes: trained runs, the training-free graph and the trivial baselines on the same episodes.

    python benchmarks/accuracy.py --data ROOT --runs runs/NAME --k_shot 1 5

Several processes share the work in one of two ways, with the same counts to the bit: ``torchrun --nproc_per_node 2
benchmarks/accuracy.py ...``, or ``--only_seeds 0 1 --name part1`` and so on, then ``--merge part1.json part2.json``.
A further run is added to a finished table by ``--only_runs --name part3``, then ``--merge accuracy.json part3.json``;
``--no_baselines`` leaves out what does not change when pixgraph's own methods do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recording import MORE, mean_and_deviation, percent, provenance, script_parser, table, write_result
from workbench import add_data_arguments, backbone_config, feature_store, guarded, open_split

from pixgraph.errors import CheckpointError, ConfigError, DataError

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore
    from pixgraph.evaluation.result import Evaluation
    from pixgraph.models.predictor import Predictor

SAME = ("n_way", "k_shot", "episodes", "classes", "dataset", "split", "protocol", "backbone")
"""Entries of a setting that its parts must share to be merged."""


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, or merge the parts of an evaluation, and write the tables."""
    args = parser().parse_args(argv)
    name = args.name or "accuracy"
    if args.merge:
        result = provenance(args.data) | merge([_read(path) for path in args.merge])
        print(write_result(name, result, report(result), args.out))
        return 0
    from pixgraph.training.distributed import ProcessGroup

    with ProcessGroup() as world:
        settings = evaluate_all(args)
    if world.is_main:
        result = {**provenance(args.data), "processes": world.size, "settings": settings}
        print(write_result(name, result, report(result), args.out))
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add(
        "--runs", nargs="*", default=[], metavar="RUN", help="folders of trained runs; none: training-free methods only"
    )
    add("--protocol", default="pixgraph-v1", help="episodes and scoring rule (default: %(default)s)")
    add("--split", default="test", choices=["train", "val", "test"], help="classes (default: %(default)s)")
    add("--n_way", type=int, default=1, help="classes in an episode (default: %(default)s)")
    add("--k_shot", type=int, nargs="+", default=[1], metavar="K", help="labelled pictures of a class (default: 1)")
    add("--episodes", type=int, help="episodes a seed (default: the protocol's)")
    add("--seeds", type=int, help="number of seeds (default: the protocol's)")
    add("--only_seeds", type=int, nargs="+", metavar="SEED", help="just these seeds, for a part that is merged later")
    add("--only_runs", action="store_true", help="score the runs alone, to be merged with what was measured before")
    add("--no_baselines", action="store_true", help="score the runs and the training-free graph alone")
    add("--mirror", action="store_true", help="each run, and the training-free graph, with mirrored pictures as well")
    add("--merge", nargs="+", metavar="JSON", help="put parts by seeds or by methods together; evaluates nothing")
    add_data_arguments(made)
    return made


def evaluate_all(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every number of shots, one after the other.

    Raises:
        CheckpointError: A run was trained on other features.
    """
    from pixgraph.data.protocols import get_protocol
    from pixgraph.evaluation.evaluate import evaluate
    from pixgraph.run_scores import first_seeds

    protocol, dataset, store = get_protocol(args.protocol), open_split(args, args.split), feature_store(args)
    seeds = args.only_seeds or first_seeds(protocol.seeds, args.seeds or len(protocol.seeds))
    found = []
    for k_shot in args.k_shot:
        evaluation = evaluate(
            with_mirrored(args, store) if args.mirror else methods(args, store.backbone.fingerprint),
            dataset,
            store,
            protocol,
            args.n_way,
            k_shot,
            seeds=seeds,
            episodes=args.episodes,
            baselines=not (args.only_runs or args.no_baselines),
        )
        found.append(setting(evaluation))
    return found


def with_mirrored(args: argparse.Namespace, store: FeatureStore) -> dict[str, Predictor]:
    """The same methods, and behind them each with mirrored pictures."""
    from pixgraph.models.mirrored import MirroredPredictor

    plain, again = methods(args, store.backbone.fingerprint), methods(args, store.backbone.fingerprint)
    return plain | {f"{name}, mirrored": MirroredPredictor(plain[name], again[name], store) for name in plain}


def methods(args: argparse.Namespace, fingerprint: str) -> dict[str, Predictor]:
    """The trained runs by the names of their folders, and the training-free graph."""
    from pixgraph.config import GraphConfig
    from pixgraph.methods import training_free
    from pixgraph.models.predictor import GraphPredictor
    from pixgraph.training.checkpoint import load_network

    found: dict[str, Predictor] = {}
    for run in args.runs:
        trained = load_network(run)
        if trained.backbone["fingerprint"] != fingerprint:
            raise CheckpointError(
                f"{run} was trained on features of {trained.backbone['name']} ({trained.backbone['fingerprint']}), got "
                f"{backbone_config(args).name} ({fingerprint}); pass its own by --backbone and --weights"
            )
        found[run_method(run)] = GraphPredictor(trained.network, trained.config.graph, trained.config.seed)
    if len(found) < len(args.runs):
        raise ConfigError(f"--runs: two of {', '.join(args.runs)} have the same folder name; rename one")
    return found if args.only_runs else {**found, "propagate": training_free("propagate", GraphConfig())}


def run_method(run: str) -> str:
    """What the tables call the method of a trained run."""
    return f"graph ({Path(run).name})"


def setting(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as this script keeps it: with the time of each seed, without examples."""
    whole = evaluation.to_dict()
    whole.pop("examples")
    for name, method in whole["methods"].items():
        for entry, tally in zip(method["per_seed"], evaluation.tallies[name], strict=True):
            entry["ms_per_query"] = round(tally.milliseconds_per_query, 3)
    return whole


def merge(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put results of disjoint seeds, and then those of disjoint methods, together.

    Raises:
        DataError: They are not parts of one evaluation, or share a seed, or name two methods alike.
    """
    grouped: dict[tuple[int, int], dict[tuple[str, ...], list[dict[str, Any]]]] = {}
    for part in parts:
        for one in part["settings"]:
            same_methods = grouped.setdefault((one["n_way"], one["k_shot"]), {})
            same_methods.setdefault(tuple(sorted(one["methods"])), []).append(one)
    return {
        "parts": [made for part in parts for made in part.get("parts", [_made(part)])],
        "settings": [_joined([_merged(g) for g in same.values()]) for _, same in sorted(grouped.items())],
    }


def _made(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part[key] for key in ("date", "command", "machine")}


def _merged(group: list[dict[str, Any]]) -> dict[str, Any]:
    """Seeds of the same methods."""
    first = group[0]
    _check_alike(first, group[1:], SAME)
    seeds = [seed for one in group for seed in one["seeds"]]
    if len(set(seeds)) < len(seeds):
        raise DataError(f"--merge: got the seeds {seeds}, expected each once; leave the part out that repeats one")
    per_seed = {
        name: sorted((e for one in group for e in one["methods"][name]["per_seed"]), key=lambda entry: entry["seed"])
        for name in first["methods"]
    }
    return {
        **first,
        "seeds": sorted(seeds),
        "full_protocol": _full(first, seeds),
        "episode_hash": {seed: h for one in group for seed, h in one["episode_hash"].items()},
        "methods": {name: method_scores(entries, first["classes"]) for name, entries in per_seed.items()},
        "seconds": round(sum(one["seconds"] for one in group), 2),
        "episodes_per_second": None,  # the parts ran beside each other
        "peak_memory_mb": max(one["peak_memory_mb"] for one in group),
    }


def _joined(settings: list[dict[str, Any]]) -> dict[str, Any]:
    """Methods of the same episodes; those that were trained come first."""
    _check_alike(settings[0], settings[1:], (*SAME, "seeds", "episode_hash"))
    names = [name for one in settings for name in one["methods"]]
    if len(set(names)) < len(names):
        raise DataError(f"--merge: got the methods {', '.join(names)}, expected each once; rename the run's folder")
    methods = {name: method for one in settings for name, method in one["methods"].items()}
    return {**settings[0], "methods": dict(sorted(methods.items(), key=lambda item: not item[0].startswith("graph")))}


def _check_alike(first: Mapping[str, Any], others: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> None:
    wrong = sorted({key for other in others for key in keys if other[key] != first[key]})
    if wrong:
        raise DataError(f"--merge: the parts differ in {', '.join(wrong)}; merge parts of one evaluation")


def _full(first: Mapping[str, Any], seeds: Sequence[int]) -> bool:
    from pixgraph.data.protocols import get_protocol

    protocol = get_protocol(first["protocol"])
    return first["episodes"] >= protocol.episodes and set(seeds) >= set(protocol.seeds)


def method_scores(entries: list[dict[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """Mean and deviation over the seeds, from the integer counts of each."""
    from pixgraph.evaluation.metrics import EpisodicIoU
    from pixgraph.training.records import plain

    scores = [EpisodicIoU.from_state(entry) for entry in entries]
    per_class = [list(plain(score.per_class()).values()) for score in scores]
    columns = [mean_and_deviation(column) for column in zip(*per_class, strict=True)]
    miou, fb_iou = (mean_and_deviation(entry[key] for entry in entries) for key in ("miou", "fb_iou"))
    return {
        "miou": miou[0],
        "miou_sd": miou[1],
        "fb_iou": fb_iou[0],
        "fb_iou_sd": fb_iou[1],
        "per_class": {name: mean for name, (mean, _) in zip(classes, columns, strict=True)},
        "per_class_sd": {name: deviation for name, (_, deviation) in zip(classes, columns, strict=True)},
        "per_seed": entries,
        "ms_per_query": round(sum(entry["ms_per_query"] for entry in entries) / len(entries), 3),
    }


def report(result: Mapping[str, Any]) -> str:
    """The mIoU of all settings, then their tables: scores and times by method, and IoU by class."""
    settings = result["settings"]
    parts = [f"    {part['command']}" for part in result.get("parts", [])]
    made_of = [f"Parts, made by:\n\n{chr(10).join(parts)}"] if parts else []
    return "\n\n".join([*made_of, _summary(settings), MORE, *(_section(one) for one in settings)])


def _summary(settings: Sequence[Mapping[str, Any]]) -> str:
    """One row a method, one column a setting."""
    names = list(dict.fromkeys(name for one in settings for name in one["methods"]))
    columns = [f"{one['n_way']}-way {one['k_shot']}-shot" for one in settings]
    found = [{name: percent(m["miou"], m["miou_sd"]) for name, m in one["methods"].items()} for one in settings]
    rows = [(name, *(scores.get(name, "-") for scores in found)) for name in names]
    cut = {False: " (not the whole protocol)", True: ""}
    sizes = [
        f"{column}: {one['episodes']} x {len(one['seeds'])}{cut[one['full_protocol']]}"
        for column, one in zip(columns, settings, strict=True)
    ]
    return "\n\n".join(
        [
            table([f"{settings[0]['dataset']}, {settings[0]['split']} classes, mIoU %", *columns], rows),
            f"Mean ± standard deviation over the seeds of the episodes; episodes x seeds: {', '.join(sizes)}. "
            "A trained run is one training.",
        ]
    )


def _section(one: Mapping[str, Any]) -> str:
    part = "" if one["full_protocol"] else " (**not the whole protocol**)"
    backbone, per_second = one["backbone"], one["episodes_per_second"]
    rows = [
        (
            name,
            percent(m["miou"], m["miou_sd"]),
            percent(m["fb_iou"], m["fb_iou_sd"]),
            f"{m['ms_per_query']:.1f}",
            f"{1000 / max(m['ms_per_query'], 1e-3):.0f}",
        )
        for name, m in one["methods"].items()
    ]
    classes = [
        (name, *(percent(m["per_class"][name], m["per_class_sd"][name]) for m in one["methods"].values()))
        for name in one["classes"]
    ]
    together = "" if per_second is None else f" All methods together: {per_second:.1f} episodes/s."
    return "\n\n".join(
        [
            f"## {one['n_way']}-way {one['k_shot']}-shot",
            f"{one['dataset']}, {one['split']} classes, {one['protocol']}: {one['episodes']} episodes x "
            f"{len(one['seeds'])} seeds{part}; mean ± standard deviation over seeds. Backbone {backbone['name']} "
            f"({backbone['pretrained_on']}, {backbone['fingerprint']}) at {backbone['size']} pixels. Episode lists "
            f"{', '.join(one['episode_hash'].values())}. Peak memory {one['peak_memory_mb']:.0f} MB.{together} "
            "Times are those of `predict` alone, on cached features.",
            table(["method", "mIoU %", "FB-IoU %", "ms / query", "queries / s"], rows),
            table(["IoU % by class", *one["methods"]], classes),
        ]
    )


def _read(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"--merge {path}: cannot be read ({error}); expected a JSON file of this script") from error
    if "settings" not in found:
        raise DataError(f"--merge {path}: it has no entry 'settings'; expected a JSON file of this script")
    return found


if __name__ == "__main__":
    sys.exit(guarded(main))
