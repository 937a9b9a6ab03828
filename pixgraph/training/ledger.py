"""The ledger of a folder of runs: `index.csv`, one line a run, for eyes and spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path

from pixgraph.errors import RunError
from pixgraph.training.atomic import write_atomic
from pixgraph.training.lock import FileLock

COLUMNS = ("run", "dataset", "method", "n_way", "k_shot", "seed", "val_miou", "state", "seconds", "updated")


def read_ledger(runs: str | Path) -> list[dict[str, str]]:
    """The lines of `runs`/index.csv, oldest run first; empty when there is none.

    Raises:
        RunError: The file is not a ledger.
    """
    path = Path(runs) / "index.csv"
    if not path.is_file():
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path} is not a ledger of runs ({error}); expected CSV: move it away") from error
    if rows and "run" not in rows[0]:
        raise RunError(f"{path} is not a ledger of runs: it has no column 'run'; move it away")
    return rows


def record_run(runs: str | Path, run: str, values: Mapping[str, object]) -> None:
    """Write or replace the line of one run; columns that are not given keep what they had.

    Several processes may record at once: a lock beside the file keeps their lines.

    Args:
        runs: Folder of runs.
        run: Name of the run's folder.
        values: Column to value; `None` is an empty cell.

    Raises:
        RunError: The folder cannot be written.
    """

    def changed(rows: dict[str, dict[str, str]]) -> None:
        row = rows.setdefault(run, {"run": run})
        row.update({key: "" if value is None else str(value) for key, value in values.items()})

    _rewrite(Path(runs), changed)


def forget_run(runs: str | Path, run: str) -> None:
    """Drop the line of one run, if it has one.

    Raises:
        RunError: The folder cannot be written.
    """
    _rewrite(Path(runs), lambda rows: rows.pop(run, None))


def _rewrite(folder: Path, change: Callable[[dict[str, dict[str, str]]], object]) -> None:
    """Let `change` edit the lines by run, while no other process does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".index.lock", wait=True):
            rows = {row["run"]: row for row in read_ledger(folder)}
            change(rows)
            columns = list(dict.fromkeys([*COLUMNS, *(c for r in rows.values() for c in r)]))
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows.values())
            write_atomic(folder / "index.csv", text.getvalue().encode())
    except OSError as error:
        path = folder / "index.csv"
        raise RunError(f"cannot write {path}: {error.strerror or error}; free space or pass --runs") from error
