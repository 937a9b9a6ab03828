"""One hyper-parameter of a study: its default, the values it may take, and the settings that a value stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from optuna.trial import Trial

MODES = ("propagate", "train")
"""The training-free graph, and short trainings of the GNN."""

Value = str | int | float
"""A value as the storage holds it: the name of a level, or a number of a range."""


@dataclass(frozen=True, kw_only=True)
class Factor:
    """What all factors have.

    Attributes:
        name: Short name, unique in the space.
        modes: Where it can act; elsewhere it is left out, never shown as "no effect".
        when: Other factor -> its values beside which this one is tried.
        note: For the reader of the report.
        default: The value of the base configuration.
        grid: Values, besides the default, of a study of one factor at a time.
    """

    name: str
    modes: tuple[str, ...] = MODES
    when: Mapping[str, tuple[str, ...]]
    note: str
    default: Value
    grid: tuple[Value, ...]

    def applies(self, chosen: Mapping[str, Value]) -> bool:
        """Whether the factor is tried beside the values chosen so far."""
        return all(str(chosen.get(name)) in values for name, values in self.when.items())

    def settings(self, value: Value) -> dict[str, Any]:
        """Dotted key to value."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator) -> Value:
        """A uniform value."""
        raise NotImplementedError

    def suggest(self, trial: Trial, grid: bool) -> Value:
        """The value that a trial of Optuna has or gets; `grid` admits the values of `grid`, too."""
        raise NotImplementedError

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers in an order."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Choice(Factor):
    """Named levels.

    Attributes:
        levels: Name to settings.
        sampled: Names that random and TPE studies draw from.
    """

    levels: Mapping[str, dict[str, Any]]
    sampled: tuple[str, ...]

    def settings(self, value: Value) -> dict[str, Any]:
        """Dotted key to value."""
        return dict(self.levels[str(value)])

    def draw(self, rng: np.random.Generator) -> Value:
        """One of the sampled names, uniformly."""
        return self.sampled[int(rng.integers(len(self.sampled)))]

    def suggest(self, trial: Trial, grid: bool) -> Value:
        """The name that a trial of Optuna has or gets."""
        return str(trial.suggest_categorical(self.name, tuple(self.levels) if grid else self.sampled))

    @property
    def numeric(self) -> bool:
        """Whether all names are numbers."""
        return all(_is_number(name) for name in self.levels)


@dataclass(frozen=True, kw_only=True)
class Range(Factor):
    """Numbers between two ends; whole ones where both ends are.

    Attributes:
        key: Dotted key.
        low: Smallest value.
        high: Largest value.
        step: Distance of the values; `None`: 1 for whole numbers, any for others.
        log: Draw the logarithm uniformly.
    """

    key: str
    low: float
    high: float
    step: float | None
    log: bool

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return all(isinstance(v, int) for v in (self.low, self.high, self.step or 1))

    def settings(self, value: Value) -> dict[str, Any]:
        """Dotted key to value."""
        return {self.key: int(value) if self.whole else float(value)}

    def draw(self, rng: np.random.Generator) -> Value:
        """A value, uniform in itself or in its logarithm."""
        low, high = (float(np.log(v)) if self.log else float(v) for v in (self.low, self.high))
        if self.step is not None or (self.whole and not self.log):
            step = self.step or 1
            value = self.low + step * int(rng.integers(int((self.high - self.low) / step + 1e-9) + 1))
        else:
            value = low + (high - low) * float(rng.random())
            value = float(np.exp(value)) if self.log else value
        value = min(max(value, self.low), self.high)
        return round(value) if self.whole else float(value)

    def suggest(self, trial: Trial, grid: bool) -> Value:
        """The number that a trial of Optuna has or gets."""
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return int(trial.suggest_int(self.name, int(self.low), int(self.high), step=step, log=self.log))
        return float(trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log))

    @property
    def numeric(self) -> bool:
        """Always."""
        return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
