"""What points, scribbles and boxes on the supports are worth beside whole masks: the same episodes of unseen classes.

    python benchmarks/weak_marks.py --data ROOT --runs runs/NAME

Marks are drawn from the masks by `pixgraph.data.annotations`, the same for all methods. What is done stays in the JSON
file: start the command again, also with further runs or kinds, to go on; a run trained anew is scored anew. Choose on
`--split val`, report on `--split test`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accuracy import methods, run_method
from recording import MORE, mean_and_deviation, percent, provenance, script_parser, table, write_result
from weak_marks_picture import draw
from workbench import add_data_arguments, feature_store, guarded, open_split

from pixgraph.errors import DataError

if TYPE_CHECKING:
    from pixgraph.evaluation.result import Evaluation


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is not measured yet and write the table."""
    args = parser().parse_args(argv)
    name = args.name or "weak_marks"
    settings = {key: getattr(args, key) for key in ("dataset", "split", "protocol", "n_way", "k_shot", "seeds")}
    settings |= {"episodes": args.episodes, "num_points": args.num_points, "size": args.size}
    weights = {run_method(run): _digest(run) for run in args.runs}
    rows = _done(Path(args.out) / f"{name}.json", settings, weights)
    predictors = None
    for kind in dict.fromkeys(["masks", *args.kinds]):
        known = rows.get(kind, {}).get("methods", {})
        if weights.keys() | {"propagate"} <= known.keys():
            print(f"{kind}: measured before", file=sys.stderr)
            continue
        if predictors is None:
            store = feature_store(args)
            predictors = methods(args, store.backbone.fingerprint)
        left = {n: p for n, p in predictors.items() if n not in known}
        found = _scores(_evaluate(args, store, left, kind), weights)
        both = {**known, **found["methods"]}
        rows[kind] = {**found, "methods": dict(sorted(both.items(), key=lambda item: item[0] == "propagate"))}
        result = {**provenance(args.data), "settings": settings, "kinds": rows}
        print(write_result(name, result, report(result), args.out), kind, flush=True)
    if args.pictures:
        store = feature_store(args)
        main_method = next(iter(methods(args, store.backbone.fingerprint).values()))
        print(draw(args, store, main_method, args.kinds, Path(args.out) / f"{name}.png"))
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--runs", nargs="*", default=[], metavar="RUN", help="folders of trained runs; none: training-free alone")
    add("--kinds", nargs="+", default=["points", "scribbles", "boxes"], choices=["points", "scribbles", "boxes", "mix"])
    add("--num_points", type=int, default=5, help="points of the class and of the background (default: %(default)s)")
    add("--protocol", default="pixgraph-v1", help="episodes and scoring rule (default: %(default)s)")
    add("--split", default="test", choices=["train", "val", "test"], help="classes (default: %(default)s)")
    add("--n_way", type=int, default=1, help="classes in an episode (default: %(default)s)")
    add("--k_shot", type=int, default=1, help="labelled pictures of a class (default: %(default)s)")
    add("--episodes", type=int, default=100, help="episodes a seed (default: %(default)s)")
    add("--seeds", type=int, default=3, help="number of seeds (default: %(default)s)")
    add(
        "--pictures", type=int, default=0, help="episodes to draw, which shows pictures of the data set (default: none)"
    )
    add_data_arguments(made)
    made.set_defaults(only_runs=False)
    return made


def report(result: dict[str, Any]) -> str:
    """The table of a result."""
    settings, kinds = result["settings"], result["kinds"]
    names = list(kinds["masks"]["methods"])
    header = [f"{settings['dataset']}, {settings['split']} classes, {settings['n_way']}-way {settings['k_shot']}-shot"]
    header += [f"{name}, {what}" for name in names for what in ("mIoU %", "of masks' %")]
    rows = []
    for kind, found in kinds.items():
        row = [f"{settings['num_points']} + {settings['num_points']} points" if kind == "points" else kind]
        for name in names:
            here, whole = found["methods"].get(name), kinds["masks"]["methods"][name]
            if here is None:
                row += ["-", "-"]
                continue
            ratios = [a / b for a, b in zip(here["per_seed"], whole["per_seed"], strict=True)]
            row += [percent(*mean_and_deviation(here["per_seed"])), percent(*mean_and_deviation(ratios))]
        rows.append(row)
    notes = [
        f"Mean ± standard deviation over {settings['seeds']} seeds of {settings['episodes']} episodes each; the marks "
        f"of an episode are the same for all methods.",
        MORE,
        "Episode lists " + ", ".join(kinds["masks"]["episode_hash"].values()) + ".",
    ]
    return table(header, rows) + "\n\n" + "\n\n".join(notes)


def _evaluate(args: argparse.Namespace, store: Any, predictors: dict[str, Any], kind: str) -> Evaluation:
    from pixgraph.data.protocols import get_protocol
    from pixgraph.data.support_marks import SupportMarks
    from pixgraph.evaluation.evaluate import evaluate
    from pixgraph.run_scores import first_seeds

    protocol = get_protocol(args.protocol)
    return evaluate(
        predictors,
        open_split(args, args.split),
        store,
        protocol,
        args.n_way,
        args.k_shot,
        seeds=first_seeds(protocol.seeds, args.seeds),
        episodes=args.episodes,
        baselines=False,
        marks=SupportMarks(kind, args.num_points),
    )


def _digest(run: str) -> str:
    """Of the file of weights that stands for a run: one trained anew is another method under the same name."""
    from pixgraph.training.checkpoint import find_checkpoint

    return hashlib.sha256(find_checkpoint(run).read_bytes()).hexdigest()[:12]


def _scores(evaluation: Evaluation, weights: dict[str, str]) -> dict[str, Any]:
    """Scores of each seed by method, whose weights if any they name, and the episodes."""
    whole = evaluation.to_dict()
    found = {
        name: {
            "per_seed": [tally.score.miou() for tally in tallies],
            "per_class": whole["methods"][name]["per_class"],
            "ms_per_query": whole["methods"][name]["ms_per_query"],
            "weights": weights.get(name),
        }
        for name, tallies in evaluation.tallies.items()
    }
    return {"episode_hash": whole["episode_hash"], "backbone": whole["backbone"], "methods": found}


def _done(path: Path, settings: dict[str, Any], weights: dict[str, str]) -> dict[str, Any]:
    """What an earlier call measured with the same settings, less the runs that have other weights by now.

    Raises:
        DataError: The file is broken, or was made with other settings.
    """
    if not path.is_file():
        return {}
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        same, kinds = before["settings"] == settings, dict(before["kinds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot read it ({error!r}); remove it or give another --name") from error
    if not same:
        raise DataError(f"{path}: was made with {before['settings']}, got {settings}; give another --name")
    for found in kinds.values():
        methods = found["methods"].items()
        found["methods"] = {n: m for n, m in methods if n not in weights or m.get("weights") == weights[n]}
    return kinds


if __name__ == "__main__":
    sys.exit(guarded(main))
