"""A run's folder: configuration, environment, metrics, checkpoints, summary, and its line in the ledger.

::

    runs/index.csv                  one line a run
    runs/NAME/config.yaml           the resolved configuration
    runs/NAME/environment.json      versions, platform, threads
    runs/NAME/metrics.jsonl         one JSON object a line: {"kind": "train" | "val", "step": ..., ...}
    runs/NAME/summary.json          state, steps, best validation, times
    runs/NAME/checkpoints/          last.pt, previous.pt (the last but one), best.pt (on validation classes)
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol

import yaml

from pixgraph.errors import CheckpointError, ConfigError, DataError, DependencyError, PixgraphError, RunError
from pixgraph.training.atomic import remove_temporaries, sync_folder, write_atomic, write_json
from pixgraph.training.checkpoint import save_checkpoint
from pixgraph.training.distributed import World
from pixgraph.training.identity import require_same_config
from pixgraph.training.ledger import forget_run, record_run
from pixgraph.training.lock import FileLock, Locked
from pixgraph.training.records import plain, read_config, read_metrics, read_summary

MENDED_OUTSIDE = (ConfigError, DataError, CheckpointError, DependencyError)
"""Errors after which a run is started again with other settings, files or libraries."""


class RunSettings(Protocol):
    """What a folder needs to know of a configuration, which is a dataclass.

    Attributes:
        seed: Seed of everything random.
        runs: Folder that holds the run folders.
        run: Name of the run's folder, or `None`.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    seed: int
    runs: str
    run: str | None


@dataclass(frozen=True)
class RunTitle:
    """What a run is called.

    Attributes:
        stem: Start of the name of a run without one.
        columns: Columns of its line in the ledger beside those that all runs have.
    """

    stem: str
    columns: Mapping[str, object]


def episodes_title(config: Any) -> RunTitle:
    """The title of a training on episodes with a `pixgraph.config.Config`."""
    episodes = config.episodes
    columns = {"dataset": config.data.name, "method": "graph", "n_way": episodes.n_way, "k_shot": episodes.k_shot}
    return RunTitle(config.data.name, columns)


class RunFolder:
    """One run, held by one process; a context manager that gives the lock back.

    Make one with `RunFolder.create` or `RunFolder.open`. A new run that one of `MENDED_OUTSIDE` stops before its first
    checkpoint leaves nothing, so that the corrected command can take the same name.

    Attributes:
        path: The folder.
        config: The run's configuration.
        title: What it is called; that of a training on episodes when not given.
    """

    def __init__(self, path: Path, config: RunSettings, lock: FileLock, title: RunTitle | None = None) -> None:
        self.path = path
        self.config = config
        self.title = episodes_title(config) if title is None else title
        self._lock = lock
        self._new = self._new_folder = False

    @classmethod
    def create(cls, config: RunSettings, title: RunTitle | None = None) -> RunFolder:
        """Start a run in the folder `config.runs`/`config.run`, or under a fresh name of its title and time.

        Raises:
            ConfigError: `config.run` is no plain name.
            RunError: A run of that name exists or is being written, or the folder cannot be made.
        """
        _check_name(config.run)
        title = episodes_title(config) if title is None else title
        path, lock, new_folder = _claim(Path(config.runs), config.run, title.stem)
        run = cls(path, config, lock, title)
        run._new, run._new_folder = True, new_folder
        if (path / "config.yaml").exists():
            lock.release()
            raise RunError(f"run {path} exists already; continue it with --resume, or give another name with --run")
        try:
            (path / "checkpoints").mkdir(exist_ok=True)
            text = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)
            # Last of all: a folder with a config.yaml is a run that can be resumed.
            write_atomic(path / "config.yaml", text.encode())
        except OSError as error:
            lock.release()
            raise _unwritable(path, error) from error
        return run

    @classmethod
    def open(cls, config: RunSettings, title: RunTitle | None = None) -> RunFolder:
        """Take up the run `config.runs`/`config.run` where it stopped.

        Raises:
            ConfigError: `config.run` is not given, or is no plain name.
            RunError: There is no such run, it was made with another configuration, or another process holds it.
        """
        if config.run is None:
            raise ConfigError("run: got nothing, expected the name of the run to resume: give --run NAME")
        _check_name(config.run)
        path = Path(config.runs) / config.run
        if not (path / "config.yaml").is_file():
            raise RunError(f"no run to resume at {path}: it has no config.yaml; expected a folder that training made")
        lock = _lock(path)
        try:
            require_same_config(read_config(path), config, str(path))
            for folder in (path, path / "checkpoints"):
                remove_temporaries(folder)
            (path / "checkpoints").mkdir(exist_ok=True)
        except OSError as error:
            lock.release()
            raise _unwritable(path, error) from error
        except (RunError, ConfigError):
            lock.release()
            raise
        return cls(path, config, lock, title)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._new and isinstance(error, MENDED_OUTSIDE) and not self.last.exists():
            self._discard()
        self.close()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    def close(self) -> None:
        """Give the lock back; the folder can be opened again."""
        self._lock.release()

    @property
    def last(self) -> Path:
        """Checkpoint of the newest saved step."""
        return self.path / "checkpoints" / "last.pt"

    @property
    def best(self) -> Path:
        """Checkpoint of the best validation."""
        return self.path / "checkpoints" / "best.pt"

    def save_last(self, state: dict[str, Any]) -> None:
        """Write `last.pt`; the one before stays as `previous.pt`, should a disk break the newer.

        Raises:
            CheckpointError: It cannot be written; both older ones are untouched.
        """
        previous = self.last.with_name("previous.pt")
        spare = self.last.with_name(f".previous.pt.{os.getpid()}.tmp")
        # A second name for the same bytes, so that there always is a last.pt; without hard links there is no previous.
        with contextlib.suppress(OSError):
            spare.unlink(missing_ok=True)
            spare.hardlink_to(self.last)
        try:
            save_checkpoint(self.last, state)
            if spare.exists():
                spare.replace(previous)
        finally:
            spare.unlink(missing_ok=True)

    def save_best(self, state: dict[str, Any]) -> None:
        """Write `best.pt`.

        Raises:
            CheckpointError: It cannot be written; the older one is untouched.
        """
        save_checkpoint(self.best, state)

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append a line to `metrics.jsonl`: ``{"kind": kind, "step": step, **values}``; numbers JSON lacks become null.

        Raises:
            RunError: The disk is full.
        """
        line = json.dumps({"kind": kind, "step": step, **plain(values)}, allow_nan=False) + "\n"
        try:
            with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise _unwritable(self.path / "metrics.jsonl", error) from error

    def rewind_metrics(self, step: int, validated: int) -> None:
        """Drop the lines that a resumed run will write again, and a torn last one.

        Args:
            step: Training steps up to here stay.
            validated: Validations up to this step stay.
        """
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return
        limit = {"train": step, "val": validated}
        kept = [line for line in read_metrics(self.path) if line["step"] <= limit.get(line["kind"], step)]
        try:
            write_atomic(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        except OSError as error:
            raise _unwritable(path, error) from error

    def write_environment(self, values: Mapping[str, Any]) -> None:
        """Write `environment.json`."""
        self._write_json("environment.json", dict(values))

    def summarise(self, values: Mapping[str, Any]) -> None:
        """Merge `values` into `summary.json` (top-level keys are replaced) and bring the run's ledger line up to date.

        Raises:
            RunError: The disk is full; the old summary stays.
        """
        summary = {**read_summary(self.path), **plain(values), "updated": time.strftime("%Y-%m-%dT%H:%M:%S")}
        self._write_json("summary.json", summary)
        best = summary.get("best") or {}
        record_run(
            self.path.parent,
            self.path.name,
            {
                **self.title.columns,
                "seed": self.config.seed,
                "val_miou": None if best.get("miou") is None else f"{best['miou']:.4f}",
                "state": summary.get("state"),
                "seconds": None if summary.get("seconds") is None else round(summary["seconds"]),
                "updated": summary["updated"],
            },
        )

    def sync(self) -> None:
        """Let `metrics.jsonl` reach the disk, so that no checkpoint is newer than its metrics after a power cut."""
        path = self.path / "metrics.jsonl"
        if path.exists():
            with path.open("rb") as file:
                os.fsync(file.fileno())
            sync_folder(self.path)

    def _discard(self) -> None:
        """Remove what there is of the run; a folder that was there before it only stops being one."""
        with contextlib.suppress(OSError, RunError):
            (self.path / "config.yaml").unlink(missing_ok=True)
            forget_run(self.path.parent, self.path.name)
            if self._new_folder:
                shutil.rmtree(self.path)

    def _write_json(self, name: str, value: Any) -> None:
        try:
            write_json(self.path / name, plain(value))
        except OSError as error:
            raise _unwritable(self.path / name, error) from error


def open_run(config: RunSettings, resume: bool, world: World, title: RunTitle | None = None) -> RunFolder:
    """The run's folder, made or taken up by the first process and known to the others, which only read.

    Raises:
        RunError: See `RunFolder.create` and `RunFolder.open`.
        SystemExit: In the other processes when the first one raises, for it tells the user why.
    """
    run, refusal = None, None
    if world.is_main:
        try:
            run = RunFolder.open(config, title) if resume else RunFolder.create(config, title)
        except PixgraphError as error:
            refusal = error
    path = world.gather("" if run is None else str(run.path))[0]
    if refusal is not None:
        raise refusal
    if not path:
        raise SystemExit(2)
    return run or RunFolder(Path(path), config, FileLock(Path(path) / ".lock"), title)


def _check_name(name: str | None) -> None:
    """Refuse what would lie elsewhere than in a folder of its own among the runs.

    Raises:
        ConfigError: The name is empty, or a path.
    """
    if name is not None and (name in ("", ".", "..") or set(name) & set("/\\\0")):
        raise ConfigError(
            f"run: got {name!r}, expected the plain name of a folder, such as first; --runs FOLDER says where it lies"
        )


def _claim(runs: Path, name: str | None, stem: str) -> tuple[Path, FileLock, bool]:
    """Make and lock the folder of a new run, and say whether it is new; without a name, one of stem and time."""
    try:
        if name is not None:
            path = runs / name
            new = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
            return path, _lock(path), new
        stem = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
        for number in range(1, 1000):
            path = runs / (stem if number == 1 else f"{stem}-{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir(parents=True)
                return path, _lock(path), True
    except OSError as error:
        raise _unwritable(runs, error) from error
    raise RunError(f"{runs} has 999 runs named {stem}; give a name with --run")


def _lock(path: Path) -> FileLock:
    lock = FileLock(path / ".lock")
    try:
        lock.acquire()
    except Locked as holder:
        raise RunError(f"run {path} is in use by {holder}; wait for it, or give another name with --run") from None
    except OSError as error:
        raise _unwritable(path, error) from error
    return lock


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(f"cannot write {path}: {error.strerror or error}; free space, or choose another folder with --runs")
