"""The loop of a pretraining: a step on two views of a batch of pictures, checkpoints, stopping and resuming."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import nn

from pixgraph.errors import RunError
from pixgraph.pretrain.batches import StepBatches, stream
from pixgraph.pretrain.config import OptimConfig
from pixgraph.pretrain.optimizers import build_optimizer
from pixgraph.report.page import write_report
from pixgraph.training.checkpoint import load_weights
from pixgraph.training.distributed import World
from pixgraph.training.identity import require_same_config
from pixgraph.training.loop import record_environment
from pixgraph.training.randomness import episode_seed, torch_seed
from pixgraph.training.run import RunFolder
from pixgraph.training.schedule import learning_rate
from pixgraph.training.session import Session, Shown, mean_logs
from pixgraph.training.signals import StopSignals, TrainingStopped

Logs = dict[str, float]
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


B_co = TypeVar("B_co", covariant=True)


class Batch(Protocol):
    """Tensors of the pictures of a step."""

    def to(self: B_co, device: torch.device) -> B_co:
        """All of them on a device."""


class Method(Protocol):
    """What is trained: PixPro and its relatives, ReCo, SPML."""

    def __call__(self, batch: Any, seed: int) -> tuple[torch.Tensor, Mapping[str, float | torch.Tensor]]:
        """Loss of a batch, and numbers to log."""

    def after_step(self, step: int, steps: int) -> dict[str, float]:
        """What follows the optimiser's step `step` of `steps`, as a target does; gives numbers to log."""


class Settings(Protocol):
    """What the loop reads of a run's configuration, a dataclass.

    Attributes:
        optim: The optimisation.
        seed: Seed of everything random.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    optim: OptimConfig
    seed: int


class Export(Protocol):
    """What writes the backbone that a training has reached."""

    def __call__(self, step: int) -> None:
        """Write it."""


class Pretrainer(Session):
    """Trains a method on the pictures of a source.

    Step s takes pictures and views that are functions of (seed, s), and a learning rate and a target's momentum that
    are functions of s. So the weights after step s do not depend on how often the training was interrupted (to the bit
    on a CPU), and on the number of processes only by the order of float sums, but where a method draws or remembers in
    each process by itself: ReCo's mixing and contrast, SPML's bank.

    Args:
        method: A module and a `Method`; trained in place, the same on all processes.
        batches: The pictures, from the first step on.
        config: The run's configuration.
        run: Folder to write to.
        pictures: Digest of the pictures: a run goes on with the same ones only.
        export: Writes the backbone beside each checkpoint (first process).
        world: The processes; only the first one writes.
        stop: Tells that a signal came.
        validate: Scores what is trained, every `optim.val_every` steps; see `Session.validate_with`.
        optimizer: Of the method's parameters; none: the one that the configuration names.
    """

    def __init__(
        self,
        method: nn.Module,
        batches: StepBatches,
        config: Settings,
        run: RunFolder,
        pictures: str,
        export: Export,
        world: World | None = None,
        stop: StopSignals | None = None,
        validate: Callable[[], Mapping[str, Any]] | None = None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        super().__init__(run, config.optim.steps, world)
        self.method, self.batches, self.config = method, batches, config
        self.pictures, self.export = pictures, export
        self.stop = StopSignals() if stop is None else stop
        self.parameters = [p for p in method.parameters() if p.requires_grad]
        self.device = self.parameters[0].device
        self.optimizer = build_optimizer(method, config.optim) if optimizer is None else optimizer
        half = config.optim.precision == "float16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        self.validate = validate
        self.validated = -1 if validate is None else 0
        self._parts: Iterator[Batch] = iter(())
        self._kept: list[Logs] = []
        self._signal = 0

    def train_step(self) -> Logs:
        """One optimiser step; gives the numbers to log.

        Raises:
            RunError: A loss or gradient is not finite; weights and checkpoints stay as they were.
            DataError: Too many pictures cannot be read.
        """
        optim, parts = self.config.optim, self.config.optim.accumulate
        self.method.train()
        self.optimizer.zero_grad(set_to_none=True)
        logs = [self._part(next(self._parts), part) for part in range(parts)]
        numbers = self._shared(logs)
        self.world.sum_gradients(self.parameters)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.parameters, optim.clip or math.inf).item()
        if not math.isfinite(norm) and not self.scaler.is_enabled():  # a scaler skips such a step and scales less
            raise self._diverged("the gradient is not finite")
        rate = learning_rate(self.step, optim)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        followed = self._method.after_step(self.step, optim.steps)
        self.step += 1
        return {**numbers, "lr": rate, **followed, "grad_norm": norm}

    def fit(self) -> None:
        """Train to the last step, validating and saving on the way; continues from where `resume` put it.

        Raises:
            TrainingStopped: A signal came; the state is saved.
            RunError: The training diverged, or the disk is full; the last checkpoint stays.
            DataError: Too many pictures cannot be read.
        """
        optim = self.config.optim
        self.batches.start = self.step
        with self.running(optim.tensorboard) as shown:
            self._parts = stream(self.batches, optim.workers)
            try:
                while True:
                    if self.validate is not None and self.validation_is_due(optim.val_every):
                        self.validate_with(self.validate, shown)
                    if self.step >= optim.steps:
                        break
                    logs = self.train_step()
                    shown.progress.step(logs["loss"])
                    self._keep(logs, shown)
                    if self.step % optim.save_every == 0 or self._signal:
                        self.save()
                    if self._signal:
                        raise TrainingStopped(self._signal)
                self.save()
            finally:
                self._parts = iter(())  # ends the workers

    def complete(self, resume: bool, facts: Mapping[str, Any], finish: Callable[[], None] | None = None) -> None:
        """Train from the start, or from the last checkpoint, to the end; the run has a page whatever happens.

        Args:
            resume: Go on from the last checkpoint.
            facts: What the run's summary says of the pictures; the number of parameters is added.
            finish: What follows the last step (first process only).

        Raises:
            CheckpointError: There is no checkpoint to resume from, or it does not load.
            TrainingStopped: See `fit`, as for the following.
            RunError: The training diverged, the disk is full, or the checkpoint is of another run.
            DataError: Too many pictures cannot be read.
        """
        if resume:
            self.resume()
        if self.world.is_main:
            record_environment(self.run, self.device, self.world.size, resume)
            self.run.summarise({**facts, "parameters": sum(p.numel() for p in self.parameters)})
        try:
            with self.stop:
                self.fit()
            if self.world.is_main and finish is not None:
                finish()
        finally:
            if self.world.is_main:
                write_report(self.run.path)

    def save(self) -> None:
        """Write the last checkpoint and the backbone (first process only)."""
        super().save()
        if self.world.is_main:
            self.export(self.step)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, as a checkpoint holds it."""
        return {
            "config": dataclasses.asdict(self.config),
            "pictures": self.pictures,
            "method": dict(self.method.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "kept": [dict(logs) for logs in self._kept],
            "step": self.step,
            "validated": self.validated,
            "best": self.best,
            "seconds": self.seconds,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave.

        Raises:
            CheckpointError: It belongs to another network.
            RunError: It was made under another configuration, from other pictures, or is of a training on episodes.
        """
        if "pictures" not in state:
            raise RunError(f"{self.run.last} is of a training on episodes; resume it with `pixgraph train --resume`")
        require_same_config(state["config"], self.config, str(self.run.path))
        if state["pictures"] != self.pictures:
            raise RunError(
                f"{self.run.path} was trained on other pictures: some came or went since; restore them, or start a new "
                "run under another --run"
            )
        load_weights(self.method, state["method"], self.run.last)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self._kept = state["kept"]
        self.step, self.validated, self.best = state["step"], state["validated"], state["best"]
        self.start_clock(state["seconds"])

    @property
    def _method(self) -> Method:
        return self.method  # type: ignore[return-value]

    def _part(self, batch: Batch, part: int) -> Logs:
        """Forward and backward pass of one part; every process and part weighs the same."""
        optim = self.config.optim
        seed = episode_seed(self.config.seed, (self.step * optim.accumulate + part) * self.world.size + self.world.rank)
        kind = _TYPES[optim.precision]
        drawn = episode_seed(self.config.seed, self.step)  # not of a process: so are the pairs
        with torch_seed(seed, self.device):
            with torch.autocast(self.device.type, kind, enabled=kind is not torch.float32):
                loss, logs = self._method(batch.to(self.device), drawn)
            self.scaler.scale(loss / (optim.accumulate * self.world.size)).backward()
        return {"loss": loss.item(), **{key: float(value) for key, value in logs.items()}}

    def _shared(self, logs: list[Logs]) -> Logs:
        """Means over parts and processes; agrees with them on whether a signal came, too."""
        gathered = self.world.gather((logs, self.stop.received))
        self._signal = max(signal for _, signal in gathered)
        numbers = mean_logs([part for parts, _ in gathered for part in parts])
        if not math.isfinite(numbers["loss"]):
            raise self._diverged(f"the loss is {numbers['loss']}")
        return numbers

    def _diverged(self, what: str) -> RunError:
        return RunError(
            f"step {self.step}: {what}; nothing was saved since, {self.run.path} holds the state before: start a new "
            f"run with a smaller --optim.lr (was {self.config.optim.lr:g})"
        )

    def _keep(self, logs: Logs, shown: Shown) -> None:
        """Write the first step, then means over `optim.log_every` steps."""
        self._kept.append(logs)
        if self.step > 1 and self.step % self.config.optim.log_every and self.step < self.config.optim.steps:
            return
        mean = {**mean_logs(self._kept), "seconds": self.seconds}
        self._kept = []
        self.log("train", mean, shown.board)
        if self.world.is_main and self.validate is None:
            shown.progress.logged(self.step, mean)
