"""What a factor does: differences to the default on the same blocks, and means over random trials."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from pixgraph.study.trials import Row

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: The mean.
        low: Lower end; the mean itself where there is only one value.
        high: Upper end.
        count: Number of values.
        p: Two-sided p-value of Student's t-test of a mean of zero; 1 where it is not defined.
    """

    mean: float
    low: float
    high: float
    count: int
    p: float


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's interval of the mean: mean ± t(level, n - 1) s / sqrt(n).

    Example:
        >>> found = t_interval([1.0, 2.0, 3.0])
        >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
        (2.0, -0.484, 4.484)
    """
    from scipy import stats

    n, mean = len(values), statistics.fmean(values)
    if n < 2:
        return Interval(mean, mean, mean, n, 1.0)
    error = statistics.stdev(values) / math.sqrt(n)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return Interval(mean, mean - half, mean + half, n, p)


@dataclass(frozen=True)
class Effect:
    """One value of one factor against the default, all else equal.

    Attributes:
        part: The study.
        factor: Name of the factor.
        value: Its value.
        default: The default's value.
        miou: Difference of mIoU over the blocks (data set, shots, seed).
        sources: Data set to the mean difference on it.
        time: Time of a query over the default's, both at an even speed of the machine.
        memory: Memory of the graph over the default's.
        sure: Whether the difference of mIoU is beyond chance at 5 %, among all values tried (Holm, 1979).
    """

    part: str
    factor: str
    value: str
    default: str
    miou: Interval
    sources: dict[str, float]
    time: float
    memory: float
    sure: bool = False


def differences(row: Row, other: Row) -> dict[str, float]:
    """Block to the difference of mIoU, on the blocks that both have."""
    return {name: value - other.blocks[name] for name, value in row.blocks.items() if name in other.blocks}


def default_row(rows: Sequence[Row], part: str) -> Row | None:
    """The default of a part: trial 0, if it is complete."""
    return next((r for r in rows if r.part == part and r.index == 0 and r.state == "complete"), None)


def effects(rows: Sequence[Row], part: str) -> list[Effect]:
    """The effects of a study of one factor at a time, in the order of its plan.

    The interval is Student's over the differences on the single blocks: it covers the chance of episodes and seeds and
    the difference between these data sets; it says nothing of other kinds of pictures.
    """
    base = default_row(rows, part)
    if base is None:
        return []
    found = []
    for row in rows:
        changed = [name for name, value in row.values.items() if base.values.get(name) != value]
        if row.part != part or row.state != "complete" or len(changed) != 1:
            continue
        each = differences(row, base)
        sources: dict[str, list[float]] = {}
        for name, value in each.items():
            sources.setdefault(name.split(",")[0], []).append(value)
        found.append(
            Effect(
                part,
                changed[0],
                row.values[changed[0]],
                base.values.get(changed[0], ""),
                t_interval(list(each.values())),
                {name: statistics.fmean(values) for name, values in sources.items()},
                row.details["even_ms"] / base.details["even_ms"],
                (row.megabytes or math.nan) / (base.megabytes or math.nan),
            )
        )
    return holm(found)


def holm(found: Sequence[Effect], level: float = 1 - LEVEL) -> list[Effect]:
    """Mark the effects that stay beyond chance when all are looked at together (Holm, 1979)."""
    order = sorted(range(len(found)), key=lambda i: found[i].miou.p)
    sure: set[int] = set()
    for rank, i in enumerate(order):
        if found[i].miou.p > level / (len(found) - rank):
            break
        sure.add(i)
    return [Effect(**{**e.__dict__, "sure": i in sure}) for i, e in enumerate(found)]


@dataclass(frozen=True)
class Marginal:
    """Mean mIoU of the random trials that have a value, whatever the other factors.

    Attributes:
        factor: Name of the factor.
        value: Its value.
        miou: Mean over the trials.
    """

    factor: str
    value: str
    miou: Interval


def marginals(rows: Sequence[Row], parts: Sequence[str]) -> list[Marginal]:
    """The means of the complete trials of random and TPE studies; those of TPE are where it expected good values."""
    done = [r for r in rows if r.part in parts and r.state == "complete" and r.miou is not None]
    found = []
    for factor in dict.fromkeys(name for r in done for name in r.values):
        for value in sorted({r.values[factor] for r in done if factor in r.values}, key=_order):
            own = [r.miou for r in done if r.values.get(factor) == value and r.miou is not None]
            found.append(Marginal(factor, value, t_interval(own)))
    return found


def _order(value: str) -> tuple[int, float, str]:
    try:
        return (0, float(value), value)
    except ValueError:
        return (1, 0.0, value)
