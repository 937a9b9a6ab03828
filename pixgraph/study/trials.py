"""The trials of all parts of a study as rows, and the files that hold them."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixgraph.study.driver import DETAILS, PROGRESS
from pixgraph.study.storage import INDEX, REASON, RETRY, load_optuna, quiet, study_names
from pixgraph.training.atomic import write_atomic

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

DETAIL_COLUMNS = ("wall_ms", "reference_ms", "resident_mb", "training_seconds", "seconds")


@dataclass
class Row:
    """One trial.

    Attributes:
        part: Name of the study that it belongs to.
        index: Its position in the plan; 0 is the default.
        state: "complete", "pruned" or "failed".
        values: Factor to value, as text.
        miou: Mean over the blocks, 0..1; `None` unless complete.
        milliseconds: Median time of a query, as measured.
        megabytes: Memory of a task's graph.
        blocks: Block to mIoU.
        details: What else was measured.
        retries: How often a process died with it before.
        reason: Why it failed.
    """

    part: str
    index: int
    state: str
    values: dict[str, str]
    miou: float | None
    milliseconds: float | None
    megabytes: float | None
    blocks: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    reason: str = ""

    def source_miou(self) -> dict[str, float]:
        """Data set to the mean mIoU of its blocks."""
        found: dict[str, list[float]] = {}
        for name, value in self.blocks.items():
            found.setdefault(name.split(",")[0], []).append(value)
        return {name: statistics.fmean(values) for name, values in found.items()}


def read_rows(storage: optuna.storages.BaseStorage) -> list[Row]:
    """The ended trials of all studies in a database, by study and position in the plan."""
    optuna = load_optuna()
    rows = []
    with quiet():
        for name in study_names(storage):
            trials = optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False)
            rows += [_row(name, t) for t in trials if t.state.is_finished() and _counts(t)]
    return sorted(rows, key=lambda row: ([r.part for r in rows].index(row.part), row.index))


def machine_speed(rows: Sequence[Row]) -> None:
    """Add ``even_ms`` to the details: the time of a query, had the machine always been as quick as at its quickest.

    That is the measured time times the smallest ``reference_ms`` of all trials, over the trial's own.
    """
    known = [row.details["reference_ms"] for row in rows if row.details.get("reference_ms")]
    quickest = min(known, default=None)
    for row in rows:
        own = row.details.get("reference_ms")
        if row.milliseconds is not None:
            row.details["even_ms"] = row.milliseconds * quickest / own if quickest and own else row.milliseconds


def write_trials(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write trials.csv, and trials.parquet where pandas and pyarrow are installed; numbers with all their digits."""
    table = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(key for line in table for key in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    path = folder / "trials.csv"
    write_atomic(path, text.getvalue().encode())
    try:
        import pandas as pd
        import pyarrow  # noqa: F401 - pandas needs it to write
    except ImportError:
        return [path]
    data = io.BytesIO()
    pd.DataFrame([{c: line.get(c) for c in columns} for line in table]).to_parquet(data, index=False)
    write_atomic(folder / "trials.parquet", data.getvalue())
    return [path, folder / "trials.parquet"]


def _flat(row: Row) -> dict[str, Any]:
    scores = {"miou": row.miou, "ms_per_query": row.milliseconds, "even_ms": row.details.get("even_ms")}
    return {
        "part": row.part,
        "trial": row.index,
        "state": row.state,
        **scores,
        "graph_mb": row.megabytes,
        **{name: row.details.get(name) for name in DETAIL_COLUMNS},
        **{f"factor: {name}": value for name, value in row.values.items()},
        **{f"mIoU: {name}": value for name, value in row.source_miou().items()},
        **{f"mIoU: {name}": value for name, value in row.blocks.items()},
        "retries": row.retries,
        "reason": row.reason,
    }


def _counts(trial: FrozenTrial) -> bool:
    """Whether the trial is in the plan, and not one that a dead process left or that was laid down twice."""
    failed = trial.state.name == "FAIL"
    return INDEX in trial.user_attrs and not (failed and REASON not in trial.user_attrs)


def _row(part: str, trial: FrozenTrial) -> Row:
    notes = trial.user_attrs
    progress = notes.get(PROGRESS, {})
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
    return Row(
        part,
        int(notes[INDEX]),
        state,
        {name: str(value) for name, value in trial.params.items()},
        trial.values[0] if state == "complete" else None,
        trial.values[1] if state == "complete" else progress.get("milliseconds"),
        trial.values[2] if state == "complete" else progress.get("megabytes"),
        dict(progress.get("blocks", {})),
        dict(notes.get(DETAILS, {})),
        int(notes.get(RETRY, 0)),
        str(notes.get(REASON, "")),
    )
