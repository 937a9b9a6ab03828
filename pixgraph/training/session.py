"""What every training does with its run: save, resume, validate, tell how far it is."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from pixgraph.errors import RunError
from pixgraph.training.checkpoint import load_checkpoint
from pixgraph.training.distributed import World
from pixgraph.training.progress import Progress, TensorBoard
from pixgraph.training.run import RunFolder
from pixgraph.training.signals import TrainingStopped


class Shown(NamedTuple):
    """Where a training shows what it does.

    Attributes:
        progress: The bar, or lines on standard error.
        board: TensorBoard, where it is asked for.
    """

    progress: Progress
    board: TensorBoard | None


class Session:
    """A training that goes on where an earlier one with the same run stopped.

    Subclasses implement `state` and `load_state`, and count `step`.

    Args:
        run: Folder to write to.
        steps: Optimiser steps of the whole run.
        world: The processes; only the first one writes.

    Attributes:
        step: Optimiser steps done.
        validated: Step of the last validation; -1 where there is none to be.
        best: Step and mIoU of the best validation; `None` before the first one.
    """

    def __init__(self, run: RunFolder, steps: int, world: World | None = None) -> None:
        self.run, self.steps = run, steps
        self.world = World() if world is None else world
        self.step = 0
        self.validated = -1
        self.best: dict[str, Any] | None = None
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

    @contextlib.contextmanager
    def running(self, tensorboard: bool) -> Iterator[Shown]:
        """Show the training inside the block, and let the run's summary say how the block ended.

        Args:
            tensorboard: Whether to write events for it.

        Raises:
            DependencyError: tensorboard is not installed.
        """
        progress = Progress(self.steps, self.step, self.world.is_main)
        board = TensorBoard(self.run.path, self.step) if tensorboard and self.world.is_main else None
        self.start_clock(self.seconds)
        state = "failed"
        try:
            self.summarise("running")
            yield Shown(progress, board)
            state = "finished"
        except TrainingStopped:
            state = "stopped"
            raise
        finally:
            progress.close()
            if board is not None:
                board.close()
            with contextlib.suppress(RunError):  # on a full disk the first error is the one to tell
                self.summarise(state)

    def validation_is_due(self, every: int) -> bool:
        """Whether to validate now: every so many steps and after the last one, once."""
        return self.step > self.validated and (self.step % every == 0 or self.step >= self.steps)

    def validate_with(self, score: Callable[[], Mapping[str, Any]], shown: Shown) -> None:
        """Score what is trained; the best so far becomes the best checkpoint.

        Args:
            score: Gives the numbers, ``"miou"`` among them; the same on all processes. It may raise `TrainingStopped`:
                the validation is then the first thing that the resumed run does.
            shown: Where to show them.
        """
        try:
            with torch.no_grad():
                scores = dict(score())
        except TrainingStopped:
            self.save()
            raise
        miou = float(scores["miou"])
        self.validated = self.step
        if self.best is None or miou > self.best["miou"] or not math.isfinite(self.best["miou"]):
            self.best = {"step": self.step, "miou": miou}
            if self.world.is_main:
                self.run.save_best(self.state())
        self.log("val", scores, shown.board)
        self.summarise("running", {"val": {"step": self.step, **scores}})
        shown.progress.validated(self.step, miou, self.best["miou"])

    def log(self, kind: str, values: Mapping[str, Any], board: TensorBoard | None) -> None:
        """Write numbers of the present step to the run's metrics, and for TensorBoard (first process only)."""
        if self.world.is_main:
            self.run.log(kind, self.step, values)
            if board is not None:
                board.log(kind, self.step, values)

    def summarise(self, state: str, values: Mapping[str, Any] | None = None) -> None:
        """Write how far the training is into the run's summary (first process only)."""
        if self.world.is_main:
            facts = {"state": state, "step": self.step, "steps": self.steps, "seconds": self.seconds}
            best = {} if self.validated < 0 else {"best": self.best}
            self.run.summarise({**facts, **best, **(values or {})})

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
