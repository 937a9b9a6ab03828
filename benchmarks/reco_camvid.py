"""Few labels on CamVid: supervised, with ClassMix, and with ReCo beside it; 20 labelled pictures and partial labels.

    python benchmarks/reco_camvid.py --data ROOT --split test

Each training is a run folder below `--runs`; what is finished there is not trained again, and what was stopped goes on,
so that several calls with other `--seeds` may share the work at the same time. A call writes the table of all finished
runs, with `--keep` beside those that the table had. Settings of `pixgraph pretrain reco` behind `--` change all runs.
Choose on `--split val`, report on `--split test`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from label_tables import add_keep_argument, with_kept
from reco_report import report
from recording import ROOT, provenance, script_parser, write_result
from run_tables import common_row, dataset_word, finished_runs, kept_scores, train_to_end, weight_words
from workbench import add_output_arguments, guarded

from pixgraph.errors import ConfigError

METHODS = {
    "supervised": [],
    "supervised+reco": ["--reco"],
    "cutmix": ["--mixing", "cutmix"],
    "classmix": ["--mixing", "classmix"],
    "classmix+reco": ["--mixing", "classmix", "--reco"],
}
"""Name of a method to its options."""

CONFIG = ROOT / "configs" / "pretrain-reco.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is not trained yet, score it, and write the table."""
    args = parser().parse_args(argv)
    name = args.name or "reco_camvid"
    for seed in args.seeds:
        for labels in args.labels:
            for method in args.methods:
                train(args, labels, method, seed)
    rows = finished(args)
    if not rows:
        raise ConfigError(f"--runs {args.runs}: got no finished run; expected some to put into the table")
    result = {**provenance(args.data), "split": args.split, "runs": rows}
    if args.keep:
        result = with_kept(result, Path(args.out) / f"{name}.json")
    print(write_result(name, result, report(result), args.out))
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    add = made.add_argument
    add("--data", metavar="ROOT", help="folder that holds camvid and weights (default: $PIXGRAPH_DATA)")
    add("--labels", nargs="+", default=["20", "p1"], metavar="BUDGET", help="numbers of pictures, or p0 .. p25 of all")
    add("--methods", nargs="+", default=["supervised", "classmix", "classmix+reco"], choices=METHODS)
    add("--seeds", nargs="*", type=int, default=[0, 1, 2], help="of labels, weights and batches; none: only the table")
    add("--split", default="val", choices=["val", "test"], help="split that is scored (default: %(default)s)")
    add("--config", default=str(CONFIG), metavar="FILE", help="settings of all runs (default: %(default)s)")
    add("--runs", default=str(ROOT / "runs" / "reco-camvid"), metavar="DIR", help="run folders (default: %(default)s)")
    add_keep_argument(made)
    add("settings", nargs="*", metavar="-- SETTING", help="further settings of pixgraph pretrain reco")
    add_output_arguments(made)
    return made


def train(args: argparse.Namespace, labels: str, method: str, seed: int) -> None:
    """Train one run to its end, unless it is there.

    Raises:
        RunError: It is there, but was trained with other settings.
    """
    from pixgraph.cli.pretrain_reco import parse_reco
    from pixgraph.pretrain.reco.run import train_reco

    folder = Path(args.runs) / f"{labels}-{method}-{seed}"
    budget = (
        ["--num-labeled", labels] if labels.isdigit() else ["--label-ratio", labels, "--labels.num_labeled", "null"]
    )
    words = ["--config", args.config, "--data", dataset_word(args, "camvid"), *budget, *METHODS[method], *args.settings]
    words += ["--seed", str(seed), "--runs", str(folder.parent), "--run", folder.name, *weight_words(args)]
    train_to_end(folder, parse_reco(words)[0], train_reco)


def finished(args: argparse.Namespace) -> dict[str, Any]:
    """The scores of all finished runs by name; they stay beside the run."""
    from pixgraph.pretrain.reco.scoring import score_run

    found = {}
    for folder, summary in finished_runs(args.runs, "*-*-*"):
        score = partial(score_run, folder, args.split, dataset_word(args, "camvid"), "cpu")
        scores = kept_scores(folder / f"scores-{args.split}.json", score)
        labels, method, seed = folder.name.rsplit("-", 2)
        found[folder.name] = {
            "labels": labels,
            "method": method,
            "seed": int(seed),
            "labels_hash": summary["labels_hash"],
            **common_row(summary, scores),
        }
    return found


if __name__ == "__main__":
    raise SystemExit(guarded(main))
