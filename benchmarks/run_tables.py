"""Trainings that make a table, each a run folder: the finished are not trained again, the stopped go on."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench import WEIGHTS, data_folder

from pixgraph.errors import ConfigError


def dataset_word(args: argparse.Namespace, name: str) -> str:
    """A data set in the folder of the data, as the command line names it.

    Raises:
        ConfigError: There is no folder of data.
    """
    folder = data_folder(args)
    if folder is None:
        raise ConfigError(f"{name} needs files: got no --data and no PIXGRAPH_DATA; name the folder of the data")
    return f"{name}:{folder / name}"


def weight_words(args: argparse.Namespace) -> list[str]:
    """Start at ImageNet's weights where the data come with them and ``args.settings`` name no others."""
    folder = data_folder(args)
    if folder is None or not (folder / WEIGHTS).is_file() or {"--weights", "--network"} & set(args.settings):
        return []
    return ["--weights", str(folder / WEIGHTS)]


def train_to_end(folder: Path, config: Any, train: Callable[..., Any]) -> None:
    """Train a run, or the rest of it, unless it is finished.

    Args:
        folder: The run's.
        config: Its settings.
        train: Called with the settings and `resume`.

    Raises:
        RunError: It is finished, but was trained with other settings.
    """
    from pixgraph.training.identity import require_same_config
    from pixgraph.training.records import read_config, read_summary

    if read_summary(folder).get("state") == "finished":
        require_same_config(read_config(folder), config, str(folder))
    else:
        train(config, resume=(folder / "config.yaml").is_file())


def finished_runs(runs: str | Path, pattern: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and summary of the finished runs below `runs` whose names match."""
    from pixgraph.training.records import read_summary

    for folder in sorted(Path(runs).glob(pattern)):
        summary = read_summary(folder)
        if summary.get("state") == "finished":
            yield folder, summary


def kept_scores(path: Path, score: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The scores in a file, which is written first where it is not there."""
    if not path.is_file():
        path.write_text(json.dumps(score()), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def common_row(summary: Mapping[str, Any], scores: Mapping[str, Any]) -> dict[str, Any]:
    """What the tables say of every run."""
    minutes = round(summary["seconds"] / 60, 1)
    shown = ("miou", "pixel_accuracy", "pictures", "classes", "iou")
    return {"minutes": minutes, "steps": summary["steps"], **{key: scores[key] for key in shown}}
