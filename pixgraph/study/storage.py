"""Where a study's trials are kept: an SQL database that several processes and machines write to."""

from __future__ import annotations

import contextlib
import inspect
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixgraph.errors import ConfigError, DependencyError, RunError

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

DIRECTIONS = ("maximize", "minimize", "minimize")
"""Accuracy, time, memory."""
HEARTBEAT, GRACE = 5, 30
"""Seconds between the signs of life of a running trial, and after which one without any counts as dead."""
RETRIES = 3
"""How often a trial whose process died is begun again: one that exhausts the memory would kill every worker in turn."""
INDEX, RETRY, REASON = "index", "retry", "reason"
"""Notes on a trial: its position in the plan, how often it was begun again, why it failed."""
DEAD = "the process died"


def load_optuna() -> Any:
    """The package optuna, quiet.

    Raises:
        DependencyError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise DependencyError(f"the study needs optuna ({error}); run: pip install 'pixgraph[study]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings that heartbeats, constant liars and importance evaluators are experimental."""
    optuna = load_optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def storage_url(out: Path, url: str | None) -> str:
    """The URL given, or that of an SQLite file in the study's folder."""
    return f"sqlite:///{out / 'study.db'}" if url is None else url


def open_storage(url: str, heartbeat: int = HEARTBEAT, grace: int = GRACE) -> optuna.storages.RDBStorage:
    """The database, made when it is not there; dead trials are begun again by whoever looks at it next.

    Args:
        url: SQLAlchemy URL such as ``sqlite:///study.db`` or ``postgresql://host/name``.
        heartbeat: Seconds between the signs of life of a running trial.
        grace: Seconds without any after which it counts as dead.

    Raises:
        ConfigError: The URL is malformed, its driver is missing, or the database does not answer.
        DependencyError: Optuna is not installed.
    """
    optuna = load_optuna()
    from sqlalchemy.exc import OperationalError

    # Optuna 5 renamed the callback.
    names = inspect.signature(optuna.storages.RDBStorage.__init__).parameters
    callback = "heartbeat_stale_trial_callback"
    callback = callback if callback in names else "failed_trial_callback"
    arguments: dict[str, Any] = {"heartbeat_interval": heartbeat, "grace_period": grace, callback: begin_again}
    if url.startswith("sqlite"):
        arguments["engine_kwargs"] = {"connect_args": {"timeout": 60}}
    for _ in range(2):
        with contextlib.suppress(OperationalError):  # two processes made the tables at the same moment: look again
            return _made(url, arguments)
        time.sleep(0.5)
    try:
        return _made(url, arguments)
    except OperationalError as error:
        raise ConfigError(
            f"--storage {url}: {_first_line(error)}; expected a database that can be written to"
        ) from error


def _made(url: str, arguments: dict[str, Any]) -> optuna.storages.RDBStorage:
    from sqlalchemy import event
    from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

    try:
        with quiet():
            storage = load_optuna().storages.RDBStorage(url, **arguments)
    except OperationalError:
        raise
    except (ArgumentError, ImportError, ValueError) as error:
        raise ConfigError(
            f"--storage {url}: {_first_line(error)}; expected a URL such as sqlite:///study.db or "
            "postgresql://user@host/name, with its driver installed"
        ) from error
    except SQLAlchemyError as error:
        raise ConfigError(f"--storage {url}: {_first_line(error)}; expected a database of Optuna") from error
    if storage.engine.name == "sqlite":
        event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()  # connections that were made before
    return storage


def _write_ahead(connection: Any, _: Any) -> None:
    """Let SQLite write ahead: a trial's thirty small notes cost a second otherwise, and readers would wait."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def begin_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Put a trial whose process died back into the queue, with the values that it had."""
    attempts = int(trial.user_attrs.get(RETRY, 0)) + 1
    if INDEX not in trial.user_attrs or attempts > RETRIES:
        return
    fixed = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    study.enqueue_trial(fixed, user_attrs={INDEX: trial.user_attrs[INDEX], RETRY: attempts})


def open_study(storage: optuna.storages.BaseStorage, name: str, settings: str, sampler: Any = None) -> optuna.Study:
    """A study that exists already, or a new one.

    Args:
        storage: Its database.
        name: Its name in there.
        settings: All that its numbers depend on, as text; a study keeps to what it was begun with.
        sampler: Chooses the values that the plan leaves open.

    Raises:
        RunError: The study was begun with other settings.
    """
    with quiet():
        study = load_optuna().create_study(
            storage=storage, sampler=sampler, study_name=name, directions=list(DIRECTIONS), load_if_exists=True
        )
        study.set_metric_names(["mIoU", "milliseconds", "megabytes"])
    known = study.user_attrs.get("settings")
    if known is None:
        study.set_user_attr("settings", settings)
    elif known != settings:
        raise RunError(
            f"the study {name!r} was begun with other settings ({_difference(known, settings)}); give "
            "another --name or --out, or the same settings"
        )
    return study


def study_names(storage: optuna.storages.BaseStorage) -> Sequence[str]:
    """Names of all studies of a database, oldest first."""
    return [s.study_name for s in sorted(storage.get_all_studies(), key=lambda s: s._study_id)]


def _difference(known: str, now: str) -> str:
    """The first keys in which two JSON objects differ."""
    import json

    old, new = json.loads(known), json.loads(now)
    keys = [k for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
    return ", ".join(keys) + " differ"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
