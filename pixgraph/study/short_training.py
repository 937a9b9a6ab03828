"""A training of a few dozen steps in memory: no run folder, no validation, the same episodes for every trial."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from pixgraph.config import Config
from pixgraph.errors import RunError
from pixgraph.models.network import PixGraphNet
from pixgraph.training.ema import WeightAverage
from pixgraph.training.randomness import episode_seed, torch_seed
from pixgraph.training.schedule import learning_rate
from pixgraph.training.sources import TrainingTasks
from pixgraph.training.step import episode_loss

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore


class ShortTraining:
    """Trains the GNN as `pixgraph train` does, from the same initial weights and on the same episodes for one seed.

    Args:
        store: Features of the pictures.
    """

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self._tasks: dict[str, TrainingTasks] = {}

    def __call__(self, config: Config, seed: int) -> PixGraphNet:
        """The averaged network after `config.train.steps` steps.

        Args:
            config: The configuration.
            seed: Seed of weights, episodes, graphs and dropout.

        Raises:
            RunError: The training diverged.
        """
        config = dataclasses.replace(config, seed=seed)
        train, tasks = config.train, self._tasks_of(config)
        with torch_seed(seed, self.store.device):
            backbone = self.store.backbone
            network = PixGraphNet(backbone.channels, config.model, backbone.strides).to(self.store.device)
        optimizer = torch.optim.AdamW(network.parameters(), train.lr, weight_decay=train.weight_decay)
        average = WeightAverage(network, train.ema)
        network.train()
        for step in range(train.steps):
            optimizer.zero_grad(set_to_none=True)
            for index in range(step * train.batch, (step + 1) * train.batch):
                drawn = episode_seed(seed, index)
                with torch_seed(drawn, self.store.device):
                    loss, _ = episode_loss(network, tasks(index), config, drawn)
                    (loss / train.batch).backward()
            norm = nn.utils.clip_grad_norm_(network.parameters(), train.clip).item()
            if not math.isfinite(norm):
                raise RunError(f"short training: the gradient of step {step} is not finite; lower train.lr")
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, train)
            optimizer.step()
            average.update()
        return cast(PixGraphNet, average.network.eval())

    def _tasks_of(self, config: Config) -> TrainingTasks:
        """Training episodes; opening a data set and counting its classes takes longer than a step."""
        key = repr((config.data, config.extra, config.episodes, config.train.augment, config.seed))
        if key not in self._tasks:
            self._tasks[key] = TrainingTasks(config, self.store)
        return self._tasks[key]
