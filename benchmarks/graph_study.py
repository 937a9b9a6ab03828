"""How should the graph be built? The study of its settings over objects, cells and street scenes.

    python benchmarks/graph_study.py --workers 2

Five parts on validation classes, each of which goes on where it stopped when the command is started again, on this
machine or, with ``--storage``, on several: one factor at a time, random trials and TPE trials of the training-free
graph; one factor at a time in short trainings, for what only the GNN can use; and the recommended settings on fresh
episodes. Writes trials.csv, index.html, pictures and recommended/*.yaml into ``--out``.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recording import DATA_VARIABLE, RESULTS, provenance, table, write_result
from workbench import backbone_config, guarded, source

from pixgraph.config import EpisodeConfig

if TYPE_CHECKING:
    from pixgraph.study.findings import Findings
    from pixgraph.study.options import StudyOptions

NAME = "graph_study"
DATASETS = ("ade20k-objects", "nuclei", "camvid")
TRAINING_SPACE = Path(__file__).with_name("study_training.yaml")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    usage = "python benchmarks/graph_study.py [--workers N] [--OPTION VALUE ...]"
    made = argparse.ArgumentParser(usage=usage, description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = made.add_argument
    add("--data", metavar="ROOT", help=f"folder that holds ade20k-objects, camvid, ... (default: ${DATA_VARIABLE})")
    add("--datasets", nargs="+", default=list(DATASETS), help="data sets; the first is trained on")
    add("--backbone", default="mobilenet_v2", help="name of the frozen CNN (default: %(default)s)")
    add("--weights", metavar="FILE", help="its weights")
    add("--size", type=int, default=256, help="working size in pixels (default: %(default)s)")
    add("--cache", metavar="DIR", default=".cache/features", help="features on disk (default: %(default)s)")
    add("--out", metavar="DIR", default=str(RESULTS / "study"), help="folder of the results")
    add("--work", metavar="DIR", default="runs/graph_study", help="folder of the database (default: %(default)s)")
    add("--storage", metavar="URL", help="database of workers on several machines, instead of that folder")
    add("--space", metavar="FILE", help="factors of the training-free parts (default: the package's own)")
    add("--training_space", metavar="FILE", default=str(TRAINING_SPACE), help="factors of the short trainings")
    add("--workers", type=int, default=max(1, (os.cpu_count() or 1)), help="processes (default: one a core)")
    add("--seeds", type=int, default=3, help="episode lists (default: %(default)s)")
    add("--episodes", type=int, default=8, help="episodes a list, data set and shots (default: %(default)s)")
    add("--drawn_episodes", type=int, default=5, help="the same in random and TPE trials (default: %(default)s)")
    add("--shots", type=int, nargs="+", default=[1, 5], help="supports of training-free trials (default: 1 5)")
    add("--grid", type=int, help="trials of one factor at a time (default: all)")
    add("--random", type=int, default=80, help="random trials (default: %(default)s)")
    add("--tpe", type=int, default=40, help="TPE trials, half of them to start with at random (default: %(default)s)")
    add("--training", type=int, help="short trainings of one factor at a time (default: all)")
    add("--steps", type=int, default=40, help="steps of a short training (default: %(default)s)")
    add("--only", nargs="+", choices=["grid", "random", "tpe", "training", "confirm"], help="only these parts")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing of the study and write its report."""
    args = parser().parse_args(argv)
    from pixgraph.study.confirm import confirm
    from pixgraph.study.run import report_study, run_study

    Path(args.work).mkdir(parents=True, exist_ok=True)
    wanted = args.only or ["grid", "random", "tpe", "training", "confirm"]
    for part, changes in parts(args).items():
        if part in wanted:
            run_study(options(args, changes), print)
    if "confirm" in wanted:
        found = confirm(options(args, {"episodes": 2 * args.episodes}), print)
    else:
        found = report_study(args.out, storage(args))
    result = {**provenance(args.data), "settings": {k: v for k, v in vars(args).items() if k in KEPT}, **costs(found)}
    print(f"written: {write_result(NAME, result, report(found), args.out)}")
    return 0


KEPT = ("datasets", "backbone", "size", "seeds", "episodes", "drawn_episodes", "shots", "steps", "workers")


def parts(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Part to the options that set it apart."""
    found: dict[str, dict[str, Any]] = {
        "grid": {"sampler": "grid", "trials": args.grid},
        "random": {"sampler": "random", "trials": args.random, "episodes": args.drawn_episodes, "prune": False},
        "tpe": {"sampler": "tpe", "trials": args.tpe, "episodes": args.drawn_episodes},
        "training": {"mode": "train", "sampler": "grid", "trials": args.training, "space": args.training_space},
    }
    return {name: changes for name, changes in found.items() if changes["trials"] != 0}


def options(args: argparse.Namespace, changes: dict[str, Any]) -> StudyOptions:
    """The options of a part; short trainings have two supports, for edges between support pictures to exist."""
    from pixgraph.study.options import StudyOptions

    made = StudyOptions(
        out=args.out,
        storage=storage(args),
        space=args.space,
        workers=args.workers,
        sources=[source(args, name) for name in args.datasets],
        backbone=backbone_config(args),
        shots=args.shots,
        seeds=args.seeds,
        episodes=args.episodes,
        episode=EpisodeConfig(k_shot=2, min_area=200 if args.size >= 128 else 1),
        report=False,
    )
    made.train.steps = args.steps
    made.train.warmup = max(1, args.steps // 10)
    if changes.get("mode") == "train":
        made.shots = [2]
    return dataclasses.replace(made, **changes)


def storage(args: argparse.Namespace) -> str:
    """URL of the database."""
    return args.storage or f"sqlite:///{Path(args.work) / 'study.db'}"


def costs(found: Findings) -> dict[str, Any]:
    """Trials and seconds a trial of each part."""
    made = {}
    for part in found.parts:
        seconds = [r.details["seconds"] for r in found.rows if r.part == part.name and "seconds" in r.details]
        made[part.name] = {"trials": len(seconds), "median_seconds": round(statistics.median(seconds or [0.0]), 2)}
    return {"parts": made}


def report(found: Findings) -> str:
    """The recommended settings, what they hold on fresh episodes, and the effects that are beyond chance."""
    rows = [
        (
            name,
            f"{100 * c.gain.mean:+.2f}",
            f"{100 * c.gain.low:+.2f} .. {100 * c.gain.high:+.2f}",
            f"{c.milliseconds:.1f}",
            f"{c.row.megabytes or 0:.1f}",
            f"{c.row.part} {c.row.index}",
        )
        for name, c in found.recommended.items()
    ]
    text = [
        "Validation classes; mIoU in points against the default, block by block (data set, shots, seed), with 95 % "
        "intervals. The page is `index.html`, the numbers are in `trials.csv`.",
        table(["recommended", "mIoU", "interval", "ms a query", "MB", "trial"], rows),
    ]
    for part, effects in found.effects.items():
        lines = [
            (
                f"{e.factor}: {e.value}",
                f"{100 * e.miou.mean:+.2f}",
                f"{100 * e.miou.low:+.2f} .. {100 * e.miou.high:+.2f}",
                "yes" if e.sure else "",
                f"{e.time:.2f}",
                f"{e.memory:.2f}",
            )
            for e in sorted(effects, key=lambda e: -e.miou.mean)
        ]
        text += [f"## {part}", table(["value", "mIoU", "interval", "sure (Holm)", "time x", "memory x"], lines)]
    cost = [(name, c["trials"], c["median_seconds"]) for name, c in costs(found)["parts"].items()]
    return "\n\n".join([*text, "## Cost", table(["part", "trials", "median seconds"], cost)])


if __name__ == "__main__":
    sys.exit(guarded(main))
