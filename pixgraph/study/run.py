"""Runs a part of a study, in this process or several, and writes its report."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pixgraph.errors import PixgraphError, RunError
from pixgraph.study.driver import Work, lay_down, run_trials
from pixgraph.study.factors import Choice, Factor, Range
from pixgraph.study.objective import GraphObjective, describe
from pixgraph.study.options import StudyOptions, base_config, check_options, fixed_settings
from pixgraph.study.plan import make_plan
from pixgraph.study.report import ABOUT, write_report
from pixgraph.study.space import acting, load_space
from pixgraph.study.storage import load_optuna, open_storage, open_study, quiet, storage_url

if TYPE_CHECKING:
    import optuna

    from pixgraph.study.findings import Findings

Say = Callable[[str], None]


def run_study(options: StudyOptions, say: Say = print) -> Findings | None:
    """Run or continue a part of a study; the same call elsewhere joins it.

    Raises:
        ConfigError: An option, the space, the data or the database's URL is wrong.
        DataError: A data set is missing or too small.
        DependencyError: Optuna is not installed.
        RunError: The part was begun with other settings, or a worker failed.

    Returns:
        What all parts in the folder's database say so far; `None` without `options.report`.
    """
    check_options(options)
    work, left_out = prepare(options)
    out = Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {out}: {error.strerror}; choose another --out") from error
    storage = open_storage(storage_url(out, options.storage))
    with quiet():
        # Other settings are refused before anything is computed, and no two workers lay the plan down.
        lay_down(open_study(storage, work.name, work.settings), work.plan)
    say(f"study {work.name}: {len(work.plan)} trials of {len(work.factors)} factors in {out}")
    if options.workers == 1:
        _work(options, work, left_out, 0, say)
    else:
        _spawn(options)
    if not options.report:
        return None
    found = write_report(storage, out)
    say(f"report: {out / 'index.html'}")
    return found


def prepare(options: StudyOptions) -> tuple[Work, list[str]]:
    """The work of a part, and the names of the factors that cannot act in its mode."""
    base = base_config(options)
    space = load_space(options.space, base)
    factors = acting(space, options.mode)
    plan = make_plan(factors, options.sampler, options.trials, options.seed)
    settings = fixed_settings(options, repr(factors))
    prune = options.prune and options.sampler != "grid"
    work = Work(options.part, factors, plan, settings, options.sampler, options.seed, prune)
    return work, [f.name for f in space if f not in factors]


def _work(options: StudyOptions, work: Work, left_out: Sequence[str], worker: int, say: Say) -> None:
    """Be one worker until all trials have ended."""
    storage = open_storage(storage_url(Path(options.out), options.storage))
    objective = GraphObjective(options)
    with quiet():
        study = open_study(storage, work.name, work.settings)
        study.set_user_attr(ABOUT, _about(options, work.factors, left_out, objective))
    run_trials(work, storage, objective, worker, lambda study: say(_progress(study, len(work.plan))))


def _spawn(options: StudyOptions) -> None:
    """Start the workers and wait; what a dead one had is done by the others, or here when all are dead."""
    threads = max(1, (os.cpu_count() or 1) // options.workers)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_worker, args=(options, i, threads)) for i in range(options.workers)]
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read when a worker loads its libraries
    try:
        for process in processes:
            process.start()
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
    for process in processes:
        process.join()
    if any(process.exitcode == 2 for process in processes):
        raise RunError("a worker of the study failed; its message stands above")
    if all(process.exitcode for process in processes):
        raise RunError("all workers of the study died; start the same command again to go on")


def _worker(options: StudyOptions, worker: int, threads: int) -> None:
    """A process of its own."""
    torch.set_num_threads(threads)
    work, left_out = prepare(options)
    parent = multiprocessing.parent_process()

    def say(text: str) -> None:
        """Tell how far it is; end with the command that started this process."""
        if parent is not None and not parent.is_alive():
            raise SystemExit(1)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    try:
        _work(options, work, left_out, worker, say)
    except PixgraphError as error:
        sys.stderr.write(f"pixgraph: error: {' '.join(str(error).split())}\n")
        raise SystemExit(2) from error


def _about(
    options: StudyOptions, factors: Sequence[Factor], left_out: Sequence[str], objective: GraphObjective
) -> dict[str, Any]:
    """What the report must know of a part, without folders."""
    fixed = json.loads(fixed_settings(options, ""))
    return {
        "options": fixed,
        "data": describe(objective),
        "left_out": list(left_out),
        "notes": {f.name: f.note for f in factors if f.note},
        "levels": {f.name: dict(f.levels) if isinstance(f, Choice) else {} for f in factors},
        "numbers": {f.name: f.key for f in factors if isinstance(f, Range)},
        "base": dataclasses.asdict(objective.base.graph),
    }


def _progress(study: optuna.Study, planned: int) -> str:
    """One line on the trial that has just ended."""
    trials = study.get_trials(deepcopy=False)
    ended = [t for t in trials if t.state.is_finished() and t.datetime_complete is not None]
    last = max(ended, key=lambda t: t.datetime_complete, default=None)  # type: ignore[arg-type, return-value]
    done = sum(t.state.name in ("COMPLETE", "PRUNED") for t in trials)
    if last is None or last.values is None:
        return f"{done} of {planned}"
    return f"{done} of {planned}: mIoU {100 * last.values[0]:.2f} %, {last.values[1]:.1f} ms, {last.values[2]:.1f} MB"


def report_study(out: str, storage: str | None = None) -> Findings:
    """Write the report of a folder again.

    Raises:
        RunError: There is no study.
    """
    url = storage_url(Path(out), storage)
    if storage is None and not (Path(out) / "study.db").is_file():
        raise RunError(f"{out}: no study.db; expected the folder of a study, as `pixgraph study --out DIR` makes it")
    load_optuna()
    return write_report(open_storage(url), Path(out))
