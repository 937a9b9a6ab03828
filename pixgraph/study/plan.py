"""Which trials a study has: all of them are laid down before the first runs, so that any worker may take any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixgraph.errors import ConfigError
from pixgraph.study.factors import Factor, Value

SAMPLERS = ("grid", "random", "tpe")
STARTUP = 20
"""Trials of a TPE study that are drawn at random before the sampler has something to go by."""


@dataclass(frozen=True)
class Planned:
    """A trial before it runs.

    Attributes:
        index: Position in the plan; what a trial keeps when it is retried.
        values: Factor to value; what is missing is chosen by the sampler when the trial runs.
        off: The one factor that is not at its default, in a study of one factor at a time; "" elsewhere.
    """

    index: int
    values: Mapping[str, Value]
    off: str = ""


def make_plan(factors: Sequence[Factor], sampler: str, trials: int | None, seed: int) -> list[Planned]:
    """The trials of a study; the first is the default, which all others are compared with.

    Args:
        factors: Those that act.
        sampler: ``"grid"``: one factor at a time; ``"random"``; ``"tpe"``: random first, then where Optuna's
            tree-structured Parzen estimator expects a better trade between the objectives.
        trials: How many; `None`: all of the grid, 50 of the others.
        seed: Seed of the random ones: trial i draws from ``default_rng([seed, i])``.

    Raises:
        ConfigError: The sampler is unknown, or there is no trial to make.
    """
    if sampler not in SAMPLERS:
        raise ConfigError(f"sampler: got {sampler!r}, expected one of {', '.join(SAMPLERS)}")
    if trials is not None and trials < 1:
        raise ConfigError(f"trials: got {trials}, expected at least 1")
    if sampler == "grid":
        return one_at_a_time(factors)[:trials]
    count = 50 if trials is None else trials
    drawn = range(1, count if sampler == "random" else min(count, STARTUP))
    plan = [Planned(0, defaults(factors)), *(Planned(i, random_values(factors, seed, i)) for i in drawn)]
    return plan + [Planned(i, {}) for i in range(len(plan), count)]


def one_at_a_time(factors: Sequence[Factor]) -> list[Planned]:
    """The default, then for each factor each other value with all others at their defaults.

    A factor that the defaults exclude (``when``) has no trial.
    """
    start = defaults(factors)
    plan = [Planned(0, start)]
    for factor in factors:
        for value in factor.grid if factor.name in start else ():
            chosen = {**start, factor.name: value}
            # Factors that are not tried beside this value keep their settings, but are no part of the trial.
            kept = {f.name: chosen[f.name] for f in factors if f.name in chosen and f.applies(chosen)}
            plan.append(Planned(len(plan), kept, factor.name))
    return plan


def defaults(factors: Sequence[Factor]) -> dict[str, Value]:
    """The default of each factor, without those that the others' defaults exclude."""
    chosen: dict[str, Value] = {}
    for factor in factors:
        if factor.applies(chosen):
            chosen[factor.name] = factor.default
    return chosen


def random_values(factors: Sequence[Factor], seed: int, index: int) -> dict[str, Value]:
    """Uniform values of trial `index`: a pure function of its arguments."""
    rng = np.random.default_rng([seed, index])
    chosen: dict[str, Value] = {}
    for factor in factors:
        value = factor.draw(rng)  # drawn in any case, so that a condition does not shift the later ones
        if factor.applies(chosen):
            chosen[factor.name] = value
    return chosen


def settings_of(factors: Sequence[Factor], values: Mapping[str, Value]) -> dict[str, Any]:
    """Dotted key to value, for the factors that a trial has."""
    settings: dict[str, Any] = {}
    for factor in factors:
        if factor.name in values:
            settings.update(factor.settings(values[factor.name]))
    return settings
