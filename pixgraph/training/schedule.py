"""What changes with the steps: the learning rate, and how slowly a target encoder follows."""

from __future__ import annotations

import math
from typing import Protocol

from pixgraph.config import Config

POWER = 0.9
"""Exponent of the schedule "poly" (Chen et al., DeepLab, 2018)."""


class Warmup(Protocol):
    """Settings of a learning rate: `TrainConfig` and others.

    Attributes:
        steps: Optimiser steps in all.
        warmup: Steps of linear warm-up.
        lr: Peak.
    """

    steps: int
    warmup: int
    lr: float


def learning_rate(step: int, config: Warmup) -> float:
    """Learning rate of one optimiser step: a function of the step alone, so that resuming needs no scheduler state.

    With peak rate L, warm-up W and S steps in all::

        L * (step + 1) / W                                     for step < W
        L * (1 + cos(pi * (step - W) / (S - W))) / 2           afterwards, schedule "cosine"
        L * (1 - (step - W) / (S - W)) ** 0.9                  afterwards, schedule "poly"

    The first step already moves, the peak is reached in step W - 1, and zero would be reached at step S, which is never
    made. Settings without a schedule mean the cosine.

    Args:
        step: 0 .. S - 1.
        config: Gives `lr`, `warmup` and `steps`, and `schedule` where it has one; a warm-up longer than the run never
            reaches the peak.

    Example:
        >>> from pixgraph.config import TrainConfig
        >>> config = TrainConfig(steps=10, warmup=2, lr=1.0)
        >>> [round(learning_rate(s, config), 3) for s in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    if getattr(config, "schedule", "cosine") == "poly":
        return config.lr * (1.0 - progress) ** POWER
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * progress))


def target_decay(step: int, config: Config) -> float:
    """Share of its own weights that the target encoder of a training keeps after one optimiser step.

    Args:
        step: 0 .. S - 1.
        config: Gives `loss.target_decay`, `loss.target_schedule` and `train.steps`; see `following_decay`.
    """
    return following_decay(step, config.train.steps, config.loss.target_decay, config.loss.target_schedule)


def following_decay(step: int, steps: int, start: float, schedule: str) -> float:
    """Share of its own weights that a target network keeps after one optimiser step: a function of the step alone.

    With d = `start` and S = `steps` it is d throughout ("constant"), or rises from d to 1 ("cosine")::

        1 - (1 - d) * (1 + cos(pi * step / S)) / 2

    Args:
        step: 0 .. S - 1.
        steps: Optimiser steps in all.
        start: In [0, 1].
        schedule: "constant" or "cosine".

    Example:
        >>> [round(following_decay(s, 10, 0.99, "cosine"), 4) for s in (0, 5, 9)]
        [0.99, 0.995, 0.9998]
    """
    if schedule == "constant":
        return start
    return 1.0 - (1.0 - start) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, steps))))
