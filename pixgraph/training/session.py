"""What every training does with its run: save, resume, tell the time."""

from __future__ import annotations

import time
from typing import Any

from pixgraph.training.checkpoint import load_checkpoint
from pixgraph.training.distributed import World
from pixgraph.training.run import RunFolder


class Session:
    """A training that goes on where an earlier one with the same run stopped.

    Subclasses implement `state` and `load_state`, and count `step`.

    Args:
        run: Folder to write to.
        world: The processes; only the first one writes.

    Attributes:
        step: Optimiser steps done.
        validated: Step of the last validation; -1 where there is none.
    """

    def __init__(self, run: RunFolder, world: World | None = None) -> None:
        self.run = run
        self.world = World() if world is None else world
        self.step = 0
        self.validated = -1
        self.start_clock(0.0)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, as a checkpoint holds it."""
        raise NotImplementedError

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave.

        Raises:
            CheckpointError: It belongs to another network.
            RunError: It was made under other settings or from other data.
        """
        raise NotImplementedError

    def save(self) -> None:
        """Write the last checkpoint (first process only)."""
        if self.world.is_main:
            self.run.sync()
            self.run.save_last(self.state())

    def resume(self) -> None:
        """Continue from the run's last checkpoint; a run that was killed before its first one starts at step 0.

        Raises:
            CheckpointError: The checkpoint is broken or of another network.
            RunError: It was made under other settings or from other data.
        """
        if self.run.last.exists() or self.run.last.with_name("previous.pt").exists():
            self.load_state(load_checkpoint(self.run.last))
        self.world.barrier()  # nobody writes before everybody has read
        if self.world.is_main:
            self.run.rewind_metrics(self.step, self.validated)

    @property
    def seconds(self) -> float:
        """Time spent in this run, over all its sessions."""
        return self._before + time.perf_counter() - self._started

    def start_clock(self, before: float) -> None:
        """Let the time run on from `before` seconds."""
        self._before, self._started = before, time.perf_counter()


def mean_logs(logs: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each number over those that have it, summed in order.

    Example:
        >>> mean_logs([{"a": 1.0, "b": 2.0}, {"a": 3.0}])
        {'a': 2.0, 'b': 2.0}
    """
    found: dict[str, list[float]] = {}
    for part in logs:
        for key, value in part.items():
            found.setdefault(key, []).append(float(value))
    return {key: sum(values) / len(values) for key, values in found.items()}
