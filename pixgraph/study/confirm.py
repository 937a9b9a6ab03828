"""The recommended settings beside the default on fresh episodes: the winner among many was also lucky on its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pixgraph.errors import RunError
from pixgraph.study.driver import Work, run_trials
from pixgraph.study.factors import Choice
from pixgraph.study.findings import Findings
from pixgraph.study.objective import GraphObjective, describe
from pixgraph.study.options import StudyOptions, fixed_settings
from pixgraph.study.plan import make_plan
from pixgraph.study.report import ABOUT, recommended_graph, write_report
from pixgraph.study.storage import open_storage, open_study, quiet, storage_url

FIRST_SEED = 1000
"""The first of the seeds of the fresh episodes."""


def confirm(options: StudyOptions, say: Callable[[str], None] = print) -> Findings:
    """Score the settings that a study's trials recommend on fresh episodes, and write the report with it.

    Args:
        options: Those of the training-free part: its data, default and place.
        say: Told how far it is.

    Raises:
        RunError: There is no complete trial to recommend.
    """
    out = Path(options.out)
    storage = open_storage(storage_url(out, options.storage))
    found = write_report(storage, out)
    if not found.recommended:
        raise RunError(f"{out}: no trial of the training-free graph is complete; run `pixgraph study` first")
    parts = {p.name: p for p in found.parts}
    base = {f"graph.{key}": value for key, value in dataclasses.asdict(options.graph).items()}
    levels: dict[str, dict[str, Any]] = {"default": base}
    for name, candidate in found.recommended.items():
        graph = dataclasses.asdict(recommended_graph(candidate, parts))
        levels[name] = {f"graph.{key}": value for key, value in graph.items()}
    factor = Choice(
        name="recommended",
        when={},
        note="",
        default="default",
        grid=tuple(found.recommended),
        levels=levels,
        sampled=tuple(levels),
    )
    text = json.dumps({"options": json.loads(fixed_settings(options, "")), "levels": levels}, sort_keys=True)
    name = f"confirm-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    work = Work(name, [factor], make_plan([factor], "grid", None, 0), text, "grid")
    objective = GraphObjective(dataclasses.replace(options, mode="propagate"), FIRST_SEED)
    about = {
        "options": {**json.loads(fixed_settings(options, "")), "mode": "confirm", "sampler": "grid"},
        "data": describe(objective),
        "left_out": [],
        "levels": {factor.name: levels},
        "numbers": {},
    }
    with quiet():
        open_study(storage, name, text).set_user_attr(ABOUT, about)
    run_trials(work, storage, objective, 0, lambda _: say(f"{name}: a trial has ended"))
    return write_report(storage, out)
