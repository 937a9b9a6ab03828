"""Points, scribbles, boxes and tags: SPML beside its classifier alone, trained on the same marks for as many steps.

    python benchmarks/spml_marks.py --data ROOT --split test

Each training is a run folder below `--runs`; what is finished there is not trained again, and what was stopped goes on,
so that several calls with other `--seeds` may share the work at the same time. A call writes the table of all finished
runs, with `--keep` beside those that the table had. Settings of `pixgraph pretrain spml` behind `--` change all runs.
Choose on `--split val`, report on `--split test`; a data set whose splits have different classes is scored on training
pictures that were held out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from label_tables import add_keep_argument, with_kept
from recording import ROOT, provenance, script_parser, write_result
from run_tables import common_row, dataset_word, finished_runs, kept_scores, train_to_end, weight_words
from spml_report import report
from workbench import add_output_arguments, guarded

from pixgraph.errors import ConfigError

METHODS = {
    "classifier": ["--relations", "none", "--spml.detach", "true"],
    "spml": ["--spml.detach", "true"],
    "spml+": ["--spml.detach", "false"],
}
"""Name of a method to its options: no contrasts, contrasts alone, contrasts and the classifier's gradient."""

DATA = {"camvid": [], "ade20k-objects": ["--train_split", "val", "--holdout", "0.25"]}
"""Data set, which is also its folder below ``--data``, to its options: of ADE20K, the five classes of its split val."""

CONFIG = ROOT / "configs" / "pretrain-spml.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is not trained yet, score it, and write the table."""
    args = parser().parse_args(argv)
    for seed in args.seeds:
        for kind in args.annotations:
            for method in args.methods:
                train(args, kind, method, seed)
    rows = finished(args)
    if not rows:
        raise ConfigError(f"--runs {args.runs}: got no finished run; expected some to put into the table")
    result = {**provenance(args.data), "dataset": args.dataset, "split": args.split, "runs": rows}
    name = args.name or f"spml_{args.dataset}"
    if args.keep:
        result = with_kept(result, Path(args.out) / f"{name}.json")
    print(write_result(name, result, report(result), args.out))
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--data", metavar="ROOT", help="folder that holds the data set and weights (default: $PIXGRAPH_DATA)")
    add("--dataset", default="camvid", choices=DATA, help="data set (default: %(default)s)")
    kinds = ["points", "scribbles", "boxes", "tags"]
    add("--annotations", nargs="+", default=kinds, choices=[*kinds, "masks"], help="default: all but masks")
    add("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    add("--seeds", nargs="*", type=int, default=[0, 1, 2], help="of marks, weights and batches; none: only the table")
    add("--split", default="val", choices=["val", "test"], help="split that is scored (default: %(default)s)")
    add("--config", default=str(CONFIG), metavar="FILE", help="settings of all runs (default: %(default)s)")
    add("--runs", default=str(ROOT / "runs" / "spml-marks"), metavar="DIR", help="run folders (default: %(default)s)")
    add_keep_argument(made)
    add("settings", nargs="*", metavar="-- SETTING", help="further settings of pixgraph pretrain spml")
    add_output_arguments(made)
    return made


def train(args: argparse.Namespace, kind: str, method: str, seed: int) -> None:
    """Train one run to its end, unless it is there.

    Raises:
        RunError: It is there, but was trained with other settings.
    """
    from pixgraph.cli.pretrain_spml import parse_spml
    from pixgraph.pretrain.spml.run import pretrain_spml

    folder = Path(args.runs) / f"{args.dataset}_{kind}_{method}_{seed}"
    words = ["--config", args.config, "--data", dataset_word(args, args.dataset), "--annotation", kind]
    words += [*DATA[args.dataset], *METHODS[method], *args.settings, "--seed", str(seed), "--marks.seed", str(seed)]
    words += ["--runs", str(folder.parent), "--run", folder.name, *weight_words(args)]
    train_to_end(folder, parse_spml(words)[0], pretrain_spml)


def finished(args: argparse.Namespace) -> dict[str, Any]:
    """The scores of all finished runs on the data set, by name; they stay beside the run."""
    from pixgraph.pretrain.spml.finished import score_run

    found = {}
    for folder, summary in finished_runs(args.runs, f"{args.dataset}_*_*_*"):
        own = args.split == "val" and not {"--val_pictures", "--val_split"} & set(args.settings)
        score = partial(score_run, folder, args.split, dataset_word(args, args.dataset), "cpu")
        scores = kept_scores(folder / ("scores.json" if own else f"scores-{args.split}.json"), score)
        _, kind, method, seed = folder.name.split("_")
        found[folder.name] = {
            "annotation": kind,
            "method": method,
            "seed": int(seed),
            "trained_on": summary["pictures"],
            "regions": summary["regions"],
            "retrieval": scores["retrieval"]["miou"],
            **common_row(summary, scores),
        }
    return found


if __name__ == "__main__":
    raise SystemExit(guarded(main))
