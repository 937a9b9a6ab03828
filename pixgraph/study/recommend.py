"""The Pareto front, and the settings that are recommended from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pixgraph.study.effects import Interval, default_row, differences, t_interval
from pixgraph.study.trials import Row

GIVE_UP = {"balanced": 0.01, "fast": 0.03}
"""mIoU that the lower end of a recommendation's interval may lie below that of the best one."""

RULE = (
    "Trials are compared by the lower end of the 95 % interval of their difference to the default, block by block, so "
    "that luck or a single data set recommends nothing. best: the largest lower end, the default itself where no trial "
    "is surely better; balanced: the quickest trial within 1 point of mIoU of it; fast: the quickest within 3 points."
)


@dataclass(frozen=True)
class Candidate:
    """A complete trial beside the default of its part.

    Attributes:
        row: The trial.
        gain: Difference of mIoU to the default, over the blocks.
    """

    row: Row
    gain: Interval

    @property
    def milliseconds(self) -> float:
        """Time of a query at an even speed of the machine."""
        return float(self.row.details["even_ms"])


def candidates(rows: Sequence[Row], parts: Sequence[str]) -> list[Candidate]:
    """The complete trials of some parts that have the same blocks as their default."""
    found = []
    for row in rows:
        base = default_row(rows, row.part)
        if (
            row.part in parts
            and row.state == "complete"
            and base is not None
            and row.blocks.keys() == base.blocks.keys()
        ):
            found.append(Candidate(row, t_interval(list(differences(row, base).values()))))
    return found


def pareto(found: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other beats in accuracy and time at once, quickest first."""
    front: list[Candidate] = []
    for c in sorted(found, key=lambda c: (c.milliseconds, -c.gain.mean)):
        if not front or c.gain.mean > front[-1].gain.mean:
            front.append(c)
    return front


def recommend(found: Sequence[Candidate]) -> dict[str, Candidate]:
    """The trials that `RULE` picks: "fast", "balanced" and "best"; empty where there is no trial."""
    if not found:
        return {}
    best = max(found, key=lambda c: (c.gain.low, -c.milliseconds))
    picked = {"best": best}
    for name, share in GIVE_UP.items():
        near = [c for c in found if c.gain.low >= best.gain.low - share]
        picked[name] = min(near, key=lambda c: (c.milliseconds, -c.gain.low))
    return {name: picked[name] for name in ("fast", "balanced", "best")}
