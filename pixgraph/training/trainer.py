"""The training loop itself: a step on a batch of episodes, validation, checkpoints, stopping and resuming."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from pixgraph.config import Config
from pixgraph.data.picture import FewShotTask
from pixgraph.errors import CheckpointError, RunError
from pixgraph.training.checkpoint import load_weights
from pixgraph.training.distributed import World
from pixgraph.training.ema import WeightAverage
from pixgraph.training.identity import require_same_config
from pixgraph.training.randomness import episode_seed, torch_seed
from pixgraph.training.run import RunFolder
from pixgraph.training.schedule import learning_rate, target_decay
from pixgraph.training.session import Session, mean_logs
from pixgraph.training.signals import StopSignals, TrainingStopped

LossFunction = Callable[[nn.Module, FewShotTask, Config, int], tuple[torch.Tensor, dict[str, float]]]
DrawTask = Callable[[int], FewShotTask]
Validate = Callable[[nn.Module], Mapping[str, Any]]


@runtime_checkable
class FollowedNetwork(Protocol):
    """A network that may have a part which follows the others instead of being trained."""

    def update_target(self, decay: float) -> None:
        """Let that part keep `decay` of its weights and take the rest from what it follows."""


class Trainer(Session):
    """Trains a network on episodes.

    Step s takes episodes s * batch .. s * batch + batch - 1. Everything random in an episode is a function of (seed,
    index), the learning rate of the step: so the weights after step s are too, on however many processes (up to the
    order of float sums), and however often the run was interrupted (to the bit on a CPU).

    Args:
        network: Trained in place; the same on all processes.
        loss_fn: ``(network, task, config, seed) -> (loss, numbers to log)`` of one episode.
        draw_task: Episode index to task; a pure function.
        validate: Score of a network on the validation classes, with ``"miou"`` among its numbers; the same on all
            processes. It may raise `TrainingStopped`: the validation is then made when the run is resumed.
        config: The run's configuration.
        run: Folder to write to.
        world: The processes; only the first one writes.
        stop: Tells that a signal came.
        origin: What the checkpoint has to say of channels, backbone and data (see `checkpoint`).
    """

    def __init__(
        self,
        network: nn.Module,
        loss_fn: LossFunction,
        draw_task: DrawTask,
        validate: Validate,
        config: Config,
        run: RunFolder,
        world: World | None = None,
        stop: StopSignals | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(run, config.train.steps, world)
        self.network, self.loss_fn, self.draw_task, self.validate = network, loss_fn, draw_task, validate
        self.config = config
        self.stop = StopSignals() if stop is None else stop
        self.origin = {"channels": [], "strides": [], "backbone": {}, "data": {}} if origin is None else dict(origin)
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.device = self.parameters[0].device
        self.average = WeightAverage(network, config.train.ema)
        self.optimizer = torch.optim.AdamW(self.parameters, config.train.lr, weight_decay=config.train.weight_decay)
        self.validated = 0
        self._signal = 0

    def train_step(self) -> dict[str, float]:
        """One optimiser step on the next batch of episodes; gives the numbers to log.

        Raises:
            RunError: A loss or gradient is not finite; weights and checkpoints stay as they were.
        """
        train = self.config.train
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        done = []
        for index in self.world.share(range(self.step * train.batch, (self.step + 1) * train.batch)):
            seed = episode_seed(self.config.seed, index)
            with torch_seed(seed, self.device):
                loss, logs = self.loss_fn(self.network, self.draw_task(index), self.config, seed)
                (loss / train.batch).backward()
            done.append((index, {"loss": loss.item(), **logs}))
        episodes = self._gather(done)
        self._require_finite_losses(episodes)
        self.world.sum_gradients(self.parameters)
        norm = nn.utils.clip_grad_norm_(self.parameters, train.clip).item()
        if not math.isfinite(norm):
            raise self._diverged("the gradient is not finite", [index for index, _ in episodes])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, train)
        self.optimizer.step()
        if isinstance(self.network, FollowedNetwork):
            self.network.update_target(target_decay(self.step, self.config))
        self.average.update()
        self.step += 1
        return {
            **mean_logs([logs for _, logs in episodes]),
            "lr": learning_rate(self.step - 1, train),
            "grad_norm": norm,
        }

    def fit(self) -> None:
        """Train to the last step, validating and saving on the way; continues from where `resume` put it.

        Raises:
            TrainingStopped: A signal came; the state is saved.
            RunError: The training diverged, or the disk is full; the last checkpoint stays.
        """
        train = self.config.train
        with self.running(train.tensorboard) as shown:
            while True:
                if self.validation_is_due(train.val_every):
                    self.validate_with(self._score, shown)
                if self.step >= train.steps:
                    break
                logs = self.train_step()
                self.log("train", {**logs, "seconds": self.seconds}, shown.board)
                shown.progress.step(logs["loss"])
                if self.step % train.save_every == 0 or self._signal:
                    self.save()
                if self._signal:
                    raise TrainingStopped(self._signal)
            self.save()

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, as a checkpoint holds it."""
        return {
            "config": dataclasses.asdict(self.config),
            **self.origin,
            "network": dict(self.network.state_dict()),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "validated": self.validated,
            "best": self.best,
            "seconds": self.seconds,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave.

        Raises:
            CheckpointError: It belongs to another model or backbone.
            RunError: It was made under another configuration or from other data.
        """
        require_same_config(state["config"], self.config, str(self.run.path))
        before, now = state["backbone"].get("fingerprint"), self.origin["backbone"].get("fingerprint")
        if before != now:
            raise CheckpointError(
                f"{self.run.last} was trained on features of backbone {before}, but this one is {now}; pass the "
                "weights that it was trained with by --backbone.weights"
            )
        if state["data"] != self.origin["data"]:
            raise RunError(
                f"{self.run.path} was trained on other data: pictures or classes of the data set have changed since; "
                "restore them, or start a new run under another --run"
            )
        load_weights(self.network, state["network"], self.run.last)
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.validated, self.best = state["step"], state["validated"], state["best"]
        self.start_clock(state["seconds"])

    def _gather(self, done: list[tuple[int, dict[str, float]]]) -> list[tuple[int, dict[str, float]]]:
        """The episodes of all processes in order; agrees with them on whether a signal came, too."""
        parts = self.world.gather((done, self.stop.received))
        self._signal = max(signal for _, signal in parts)
        return sorted((episode for part, _ in parts for episode in part), key=lambda episode: episode[0])

    def _require_finite_losses(self, episodes: list[tuple[int, dict[str, float]]]) -> None:
        bad = [index for index, logs in episodes if not math.isfinite(logs["loss"])]
        if bad:
            raise self._diverged(f"the loss is {dict(episodes)[bad[0]]['loss']}", bad)

    def _diverged(self, what: str, episodes: list[int]) -> RunError:
        return RunError(
            f"step {self.step}: {what} on episodes {episodes}; nothing was saved since, {self.run.path} holds "
            f"the state before: start a new run with a smaller --train.lr (was {self.config.train.lr:g})"
        )

    def _score(self) -> Mapping[str, Any]:
        """Scores of the averaged weights."""
        self.average.network.eval()
        return self.validate(self.average.network)
