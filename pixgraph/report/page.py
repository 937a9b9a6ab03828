"""The page of a run: one HTML file that needs no other file, no network and no script."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from pixgraph.errors import RunError
from pixgraph.report import sections
from pixgraph.report.panels import load_panels
from pixgraph.training.atomic import write_atomic
from pixgraph.training.records import read_environment, read_metrics, read_summary

_LONG = {"evaluation", "evaluations", "test", "val"}


def write_report(run_folder: str | Path) -> Path:
    """Write ``index.html`` from what the run's folder holds; parts that are missing are left out.

    Read are summary.json, metrics.jsonl, ``evaluations/*.json``, ``panels/*.json`` (see `panels.save_panels`),
    config.yaml and environment.json, so that the page can be made again at any time.

    Args:
        run_folder: Folder of a run.

    Returns:
        The page.

    Raises:
        RunError: The folder does not exist, its summary is broken, or the page cannot be written.
    """
    folder = Path(run_folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder, expected one that training or evaluation made; check the path")
    summary = read_summary(folder)
    page = folder / "index.html"
    text = render(folder.name, summary, found_evaluations(folder, summary), load_panels(folder), _files(folder))
    try:
        write_atomic(page, text.encode())
    except OSError as error:
        raise RunError(f"cannot write {page}: {error.strerror or error}; free space or change permissions") from error
    return page


def render(
    name: str,
    summary: Mapping[str, Any],
    evaluations: Mapping[str, Mapping[str, Any]],
    panels: Mapping[str, Mapping[str, Any]],
    rest: Mapping[str, Any],
) -> str:
    """The page as text.

    Args:
        name: Name of the run.
        summary: Content of summary.json.
        evaluations: By label, results of `Evaluation.to_dict`, the newest first.
        panels: By label, content of ``panels/*.json``.
        rest: ``metrics`` (lines of metrics.jsonl), ``config`` (text of config.yaml), ``environment``.
    """
    first = next(iter(evaluations.values()), None)
    plain = {key: value for key, value in summary.items() if key not in _LONG}
    body = [
        f"<header><h1>{escape(name)}</h1>{_subtitle(summary)}</header>",
        sections.headline(first) if first else "",
        *(sections.scores(label, evaluation) for label, evaluation in evaluations.items()),
        sections.curves(rest.get("metrics", [])),
        *(sections.panels(label, content) for label, content in panels.items()),
        "<section><h2>How it was made</h2>",
        sections.folded("Configuration", rest.get("config")),
        sections.folded("Environment", rest.get("environment")),
        sections.folded("Summary", plain),
        "</section>",
    ]
    style = files("pixgraph.report").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)} · pixgraph</title><style>\n{style}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def found_evaluations(folder: Path, summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every evaluation of a run by label: that in the summary first, then those in ``evaluations/`` by name.

    Raises:
        RunError: A file is not JSON.
    """
    found: dict[str, dict[str, Any]] = {}
    newest = summary.get("evaluation")
    if isinstance(newest, dict):
        label = f"{newest['split']}-{newest['n_way']}way-{newest['k_shot']}shot-{newest['protocol']}"
        found[label] = newest
    for path in sorted(folder.glob("evaluations/*.json")):
        found.setdefault(path.stem, _read_evaluation(path))
    return found


def _read_evaluation(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}; expected an evaluation: remove it and evaluate again") from error
    return content


def _subtitle(summary: Mapping[str, Any]) -> str:
    """What is known of the training, in one line."""
    parts = []
    if summary.get("state"):
        parts.append(str(summary["state"]))
    if summary.get("steps"):
        parts.append(f"step {summary.get('step', 0)} of {summary['steps']}")
    best = summary.get("best") or {}
    if best.get("miou") is not None:
        parts.append(f"best validation mIoU {100 * best['miou']:.2f} % at step {best.get('step')}")
    if summary.get("parameters"):
        parts.append(f"{summary['parameters']:,} trained parameters")
    if summary.get("seconds"):
        parts.append(f"{summary['seconds'] / 60:.1f} minutes")
    return f'<p class="soft">{escape(" · ".join(parts))}</p>' if parts else ""


def _files(folder: Path) -> dict[str, Any]:
    config = folder / "config.yaml"
    return {
        "metrics": read_metrics(folder),
        "config": config.read_text(encoding="utf-8") if config.is_file() else "",
        "environment": read_environment(folder),
    }
