"""What the tables of trainings from few or weak labels have in common: gains seed by seed, and classes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recording import mean_and_deviation, percent, table

from pixgraph.errors import ConfigError

Run = dict[str, Any]
BySeed = Mapping[int, Run]


def add_keep_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--keep``."""
    parser.add_argument(
        "--keep", action="store_true", help="keep the rows of the table that is there, but for the runs that are here"
    )


def with_kept(result: dict[str, Any], path: Path) -> dict[str, Any]:
    """The result with the runs of an earlier one that it lacks: a long table may be filled on several machines.

    Args:
        result: Provenance, what all runs share, and `runs` by name.
        path: The earlier result.

    Returns:
        The same keys; a run that is kept names the day it was tabled, as `tabled`.

    Raises:
        ConfigError: There is no earlier result, or its runs share something else (the split, say).
    """
    if not path.is_file():
        raise ConfigError(f"--keep: got no {path}; expected an earlier table")
    earlier = json.loads(path.read_text(encoding="utf-8"))
    for key in result.keys() - {"date", "command", "machine", "runs"}:
        if earlier.get(key) != result[key]:
            raise ConfigError(f"--keep: {path}: got {key} {earlier.get(key)}; expected {result[key]}")
    kept = {name: {"tabled": earlier["date"], **run} for name, run in earlier["runs"].items()}
    return {**result, "runs": dict(sorted({**kept, **result["runs"]}.items()))}


def by_seed(runs: Sequence[Run], group: str, kind: tuple[str, str]) -> dict[int, Run]:
    """Runs by seed whose `group` and method are `kind`."""
    return {run["seed"]: run for run in runs if (run[group], run["method"]) == kind}


def gain(own: BySeed, before: BySeed | None) -> str:
    """Mean and deviation of the differences of mIoU of the same seeds; a dash where there is nothing before."""
    if before is None:
        return "-"
    both = sorted({*own} & {*before})
    return percent(*mean_and_deviation(own[s]["miou"] - before[s]["miou"] for s in both), sign=True)


def minutes(own: BySeed) -> str:
    """Mean minutes of a run."""
    return f"{mean_and_deviation(run['minutes'] for run in own.values())[0]:.1f}"


def class_table(runs: Sequence[Run], group: str, kinds: Sequence[tuple[str, str]]) -> str:
    """IoU of each class, mean over the seeds, for those kinds that there are."""
    columns = [kind for kind in kinds if by_seed(runs, group, kind)]
    rows = []
    for number, name in enumerate(runs[0]["classes"]):
        values = [[run["iou"][number] for run in by_seed(runs, group, kind).values()] for kind in columns]
        rows.append([name, *(percent(mean_and_deviation(value)[0]) for value in values)])
    return table(["class", *(f"{first} {method}" for first, method in columns)], rows)
