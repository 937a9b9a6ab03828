"""Which trials are not worth their remaining blocks.

Optuna prunes studies of one objective only. With accuracy, time and memory as objectives a trial that is worse in
accuracy may still be on the Pareto front, so a trial is given up only when it is behind in all that is known of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

STARTUP = 10
"""Complete trials before any is pruned."""
FIRST = 3
"""Blocks that every trial gets."""


class Progress(NamedTuple):
    """What is known of a trial after some blocks.

    Attributes:
        mious: mIoU of each block so far.
        milliseconds: Time of a query so far.
        megabytes: Memory of the graph.
    """

    mious: Sequence[float]
    milliseconds: float
    megabytes: float


def hopeless(trial: Progress, others: Sequence[Progress]) -> bool:
    """Whether a running trial is behind the median of the complete ones in accuracy, time and memory.

    Accuracy is compared on the blocks that the trial has done, which are the same for all.

    Args:
        trial: The running one.
        others: The complete ones.

    Example:
        >>> others = [Progress([0.5, 0.5, 0.5], 10.0, 4.0)] * 10
        >>> hopeless(Progress([0.4, 0.4, 0.4], 20.0, 5.0), others)
        True
        >>> hopeless(Progress([0.4, 0.4, 0.4], 5.0, 5.0), others)  # quicker
        False
    """
    done = len(trial.mious)
    if len(others) < STARTUP or done < FIRST:
        return False
    behind = statistics.fmean(trial.mious) < statistics.median(statistics.fmean(o.mious[:done]) for o in others)
    slow = trial.milliseconds >= statistics.median(o.milliseconds for o in others)
    return behind and slow and trial.megabytes >= statistics.median(o.megabytes for o in others)
