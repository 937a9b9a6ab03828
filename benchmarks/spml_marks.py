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
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from label_tables import add_keep_argument, with_kept
from recording import ROOT, provenance, script_parser, write_result
from spml_report import report
from workbench import WEIGHTS, add_output_arguments, data_folder, guarded

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
    from pixgraph.training.identity import require_same_config
    from pixgraph.training.records import read_config

    folder = Path(args.runs) / f"{args.dataset}_{kind}_{method}_{seed}"
    words = ["--config", args.config, "--data", place(args), "--annotation", kind]
    words += [*DATA[args.dataset], *METHODS[method], *args.settings]
    words += ["--seed", str(seed), "--marks.seed", str(seed), "--runs", str(folder.parent), "--run", folder.name]
    weights = data_folder(args)
    if weights is not None and (weights / WEIGHTS).is_file() and not {"--weights", "--network"} & set(args.settings):
        words += ["--weights", str(weights / WEIGHTS)]
    config, _ = parse_spml(words)
    if _state(folder) == "finished":
        require_same_config(read_config(folder), config, str(folder))
        return
    pretrain_spml(config, resume=(folder / "config.yaml").is_file())


def finished(args: argparse.Namespace) -> dict[str, Any]:
    """The scores of all finished runs on the data set, by name; they stay beside the run."""
    from pixgraph.pretrain.spml.finished import score_run

    found = {}
    for folder in sorted(Path(args.runs).glob(f"{args.dataset}_*_*_*")):
        if _state(folder) != "finished":
            continue
        own = args.split == "val" and not {"--val_pictures", "--val_split"} & set(args.settings)
        path = folder / ("scores.json" if own else f"scores-{args.split}.json")
        if not path.is_file():
            path.write_text(json.dumps(score_run(folder, args.split, place(args), "cpu")), encoding="utf-8")
        scores = json.loads(path.read_text(encoding="utf-8"))
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        _, kind, method, seed = folder.name.split("_")
        found[folder.name] = {
            "annotation": kind,
            "method": method,
            "seed": int(seed),
            "minutes": round(summary["seconds"] / 60, 1),
            "steps": summary["steps"],
            "trained_on": summary["pictures"],
            "regions": summary["regions"],
            "retrieval": scores["retrieval"]["miou"],
            **{key: scores[key] for key in ("miou", "pixel_accuracy", "pictures", "classes", "iou")},
        }
    return found


def place(args: argparse.Namespace) -> str:
    """The data set as the command line names it.

    Raises:
        ConfigError: There is no folder of data.
    """
    folder = data_folder(args)
    if folder is None:
        raise ConfigError(
            f"{args.dataset} needs files: got no --data and no PIXGRAPH_DATA; name the folder of the data"
        )
    return f"{args.dataset}:{folder / args.dataset}"


def _state(folder: Path) -> str | None:
    path = folder / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")).get("state") if path.is_file() else None


if __name__ == "__main__":
    raise SystemExit(guarded(main))
