"""The files of a study, written from its database: trials, page, pictures and recommended settings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixgraph.config import GraphConfig
from pixgraph.config_check import build
from pixgraph.errors import RunError
from pixgraph.study.findings import Findings, Part, find
from pixgraph.study.page import render
from pixgraph.study.plots import plot_effects, plot_importance, plot_interactions, plot_pareto
from pixgraph.study.recommend import Candidate
from pixgraph.study.storage import load_optuna, quiet, study_names
from pixgraph.study.trials import machine_speed, read_rows, write_trials
from pixgraph.training.atomic import write_atomic, write_json

if TYPE_CHECKING:
    import optuna

ABOUT = "about"
"""Note on a study: its options, its data, and the settings that each value of its factors stands for."""


def write_report(storage: optuna.storages.BaseStorage, out: Path, title: str = "How to build the graph") -> Findings:
    """Write trials.csv (and .parquet), findings.json, index.html, PNG files and ``recommended/*.yaml``.

    Args:
        storage: The database.
        out: Folder of the study.
        title: Heading of the page.

    Raises:
        RunError: There is no ended trial, or a file cannot be written.
    """
    parts, rows = _parts(storage), read_rows(storage)
    if not rows:
        raise RunError(f"{out}: no trial has ended yet; run `pixgraph study --out {out}` first")
    machine_speed(rows)
    found = find(rows, parts)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_trials(rows, out)
        settings = {name: recommended_yaml(name, c, found) for name, c in found.recommended.items()}
        for name, text in settings.items():
            (out / "recommended").mkdir(exist_ok=True)
            write_atomic(out / "recommended" / f"{name}.yaml", text.encode())
        pictures = _pictures(found, out)
        write_json(out / "findings.json", _plain(found))
        write_atomic(out / "index.html", render(title, found, pictures, settings).encode())
    except OSError as error:
        raise RunError(
            f"cannot write the report to {out}: {error.strerror or error}; free space or choose another --out"
        ) from error
    return found


def recommended_graph(c: Candidate, parts: Mapping[str, Part]) -> GraphConfig:
    """The construction of the graph that a trial stands for."""
    about = parts[c.row.part].about
    values = dict(about["options"]["graph"])
    for name, value in c.row.values.items():
        for key, setting in about["levels"][name].get(value, {}).items():
            section, _, last = key.partition(".")
            if section == "graph":
                values[last] = setting
        number = about["numbers"].get(name)
        if number is not None and number.startswith("graph."):
            values[number.partition(".")[2]] = json.loads(value)
    return build(GraphConfig, values, "graph")


def recommended_yaml(name: str, c: Candidate, found: Findings) -> str:
    """A configuration for ``--config`` with all settings of the graph, whatever the package's defaults will be."""
    import yaml

    graph = dataclasses.asdict(recommended_graph(c, {p.name: p for p in found.parts}))
    text = yaml.safe_dump({"graph": graph}, sort_keys=False)
    gain = f"{100 * c.gain.mean:+.2f} ({100 * c.gain.low:+.2f} .. {100 * c.gain.high:+.2f})"
    return (
        f"# Graph construction: {name}. Trial {c.row.index} of the study {c.row.part}: mIoU against its default, in "
        f"points\n# with the 95 % interval: {gain}; {c.milliseconds:.1f} ms a query.\n{text}"
    )


def _parts(storage: optuna.storages.BaseStorage) -> list[Part]:
    optuna, parts = load_optuna(), []
    with quiet():
        for name in study_names(storage):
            about = optuna.load_study(study_name=name, storage=storage).user_attrs.get(ABOUT)
            if about is not None:
                options = about["options"]
                parts.append(Part(name, options["mode"], options["sampler"], about))
    return parts


def _pictures(found: Findings, out: Path) -> dict[str, Path]:
    """Draw what there is to draw; the key says what, the file is named after it."""
    pictures: dict[str, Path] = {}
    if found.candidates:
        pictures["pareto"] = plot_pareto(found.candidates, found.recommended, out / "pareto.png")
    for part, effects in found.effects.items():
        if effects:
            pictures[f"effects {part}"] = plot_effects(effects, out / f"effects-{part}.png")
    for part, shares in found.importance.items():
        pictures[f"importance {part}"] = plot_importance(shares, out / f"importance-{part}.png")
    for part, pairs in found.interactions.items():
        pictures[f"interactions {part}"] = plot_interactions(pairs, out / f"interactions-{part}.png")
    return pictures


def _plain(found: Findings) -> dict[str, Any]:
    """The findings as JSON values; trials stand in trials.csv."""
    return {
        "parts": {p.name: dict(p.about) for p in found.parts},
        "effects": {part: [dataclasses.asdict(e) for e in es] for part, es in found.effects.items()},
        "marginals": {part: [dataclasses.asdict(m) for m in ms] for part, ms in found.marginals.items()},
        "importance": {part: {k: dict(v) for k, v in s.items()} for part, s in found.importance.items()},
        "interactions": {part: [dataclasses.asdict(i) for i in pairs] for part, pairs in found.interactions.items()},
        "recommended": {
            name: {
                "part": c.row.part,
                "trial": c.row.index,
                "miou": c.row.miou,
                "gain": dataclasses.asdict(c.gain),
                "ms": c.milliseconds,
                "mb": c.row.megabytes,
                "values": c.row.values,
            }
            for name, c in found.recommended.items()
        },
    }
