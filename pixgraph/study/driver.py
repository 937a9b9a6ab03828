"""Runs the trials of a plan: in one process or many, however often these are killed and started again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pixgraph.errors import PixgraphError
from pixgraph.study.factors import Factor, Value
from pixgraph.study.plan import STARTUP, Planned, settings_of
from pixgraph.study.pruning import Progress, hopeless
from pixgraph.study.storage import INDEX, REASON, load_optuna, open_study, quiet

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

POLL = 1.0
"""Seconds between looks at the trials of others, once nothing is left to begin."""
PROGRESS, DETAILS = "progress", "details"
"""Notes on a trial: mIoU of each block, time and memory so far; anything else that was measured."""


@dataclass(frozen=True)
class Outcome:
    """The objectives of a trial, and what else there is to tell.

    Attributes:
        miou: Mean over the blocks, 0..1.
        milliseconds: A query.
        megabytes: A task's graph.
        details: JSON values.
    """

    miou: float
    milliseconds: float
    megabytes: float
    details: dict[str, Any] = field(default_factory=dict)


Report = Callable[[str, float, float, float], None]
"""Called after each block with its name, its mIoU, and milliseconds and megabytes so far; may end the trial."""


class Objective(Protocol):
    """Measures a setting."""

    def __call__(self, settings: dict[str, Any], report: Report) -> Outcome:
        """Measure.

        Args:
            settings: Dotted key to value.
            report: To be called after each block.

        Raises:
            PixgraphError: The setting is impossible; the trial fails and the study goes on.
        """


class _NotMineError(Exception):
    """A trial that is not in the plan, or that another process already has."""


@dataclass(frozen=True)
class Work:
    """What all workers of a study share.

    Attributes:
        name: The study's name in the storage.
        factors: Those that act.
        plan: All trials.
        settings: Everything that the numbers depend on, as JSON text.
        sampler: "grid", "random" or "tpe".
        seed: Seed of the sampler.
        prune: Whether hopeless trials are given up.
    """

    name: str
    factors: Sequence[Factor]
    plan: Sequence[Planned]
    settings: str
    sampler: str = "random"
    seed: int = 0
    prune: bool = False


def run_trials(
    work: Work,
    storage: optuna.storages.RDBStorage,
    objective: Objective,
    worker: int = 0,
    done: Callable[[optuna.Study], None] | None = None,
) -> optuna.Study:
    """Take trials from the plan until all of them have ended, also those that other workers had and died with.

    Any number of processes may call this with the same arguments, at any time: the first lays the plan down, and each
    trial goes to one of them.

    Args:
        work: The study.
        storage: Its database.
        objective: Measures a setting.
        worker: Number of this process, which sets its sampler apart.
        done: Called after each trial of this process.

    Raises:
        RunError: The study was begun with other settings.
    """
    optuna = load_optuna()
    with quiet():
        study = open_study(storage, work.name, work.settings, _sampler(work, worker))
        lay_down(study, work.plan)
        while True:
            optuna.storages.fail_stale_trials(study)
            states = [t.state.name for t in _mine(study, work)]
            if "WAITING" in states:
                study.optimize(
                    lambda trial: _measure(trial, work, objective), n_trials=1, catch=(PixgraphError, _NotMineError)
                )
                if done is not None:
                    done(study)
            elif "RUNNING" in states:
                time.sleep(POLL)
            else:
                return study


def lay_down(study: optuna.Study, plan: Sequence[Planned]) -> None:
    """Put into the queue what is not yet there; a plan that has grown since is continued."""
    known = {t.user_attrs.get(INDEX) for t in study.get_trials(deepcopy=False)}
    for planned in plan:
        if planned.index not in known:
            study.enqueue_trial(dict(planned.values), user_attrs={INDEX: planned.index})


def _mine(study: optuna.Study, work: Work) -> list[FrozenTrial]:
    wanted = {planned.index for planned in work.plan}
    return [t for t in study.get_trials(deepcopy=False) if t.user_attrs.get(INDEX) in wanted]


def _measure(trial: Trial, work: Work, objective: Objective) -> tuple[float, float, float]:
    """The objectives of one trial."""
    _claim(trial)
    values: dict[str, Value] = {}
    for factor in work.factors:
        if factor.applies(values):
            values[factor.name] = factor.suggest(trial, work.sampler == "grid")
    blocks: dict[str, float] = {}

    def report(name: str, miou: float, milliseconds: float, megabytes: float) -> None:
        """Keep a block's score, and give up where there is no hope."""
        blocks[name] = miou
        found = {"blocks": blocks, "milliseconds": milliseconds, "megabytes": megabytes}
        trial.set_user_attr(PROGRESS, found)
        if work.prune and hopeless(Progress(list(blocks.values()), milliseconds, megabytes), _complete(trial.study)):
            raise load_optuna().TrialPruned

    begin = time.perf_counter()
    try:
        outcome = objective(settings_of(work.factors, values), report)
    except PixgraphError as error:
        trial.set_user_attr(REASON, str(error))
        raise
    trial.set_user_attr(DETAILS, {**outcome.details, "seconds": time.perf_counter() - begin})
    return outcome.miou, outcome.milliseconds, outcome.megabytes


def _claim(trial: Trial) -> None:
    """Refuse a trial that Optuna made up, for the queue was emptied meanwhile, or that two processes laid down."""
    index = trial.user_attrs.get(INDEX)
    if index is None:
        raise _NotMineError
    for other in trial.study.get_trials(deepcopy=False):
        earlier = other.number < trial.number and other.user_attrs.get(INDEX) == index
        if earlier and other.state.name in ("RUNNING", "COMPLETE", "PRUNED"):
            raise _NotMineError


def _complete(study: optuna.Study) -> list[Progress]:
    trials = [t for t in study.get_trials(deepcopy=False) if t.state.name == "COMPLETE"]
    return [Progress(list(t.user_attrs[PROGRESS]["blocks"].values()), t.values[1], t.values[2]) for t in trials]


def _sampler(work: Work, worker: int) -> Any:
    """What chooses the values that the plan leaves open; with several workers it depends on who does what when."""
    samplers = load_optuna().samplers
    if work.sampler != "tpe":
        return samplers.RandomSampler(seed=work.seed)
    with quiet():
        return samplers.TPESampler(seed=work.seed + worker, n_startup_trials=STARTUP, constant_liar=True)
