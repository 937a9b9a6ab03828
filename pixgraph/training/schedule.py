"""The learning rate: linear warm-up, then half a cosine to zero."""

from __future__ import annotations

import math

from pixgraph.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Learning rate of one optimiser step: a function of the step alone, so that resuming needs no scheduler state.

    With peak rate L, warm-up W and S steps in all::

        L * (step + 1) / W                                     for step < W
        L * (1 + cos(pi * (step - W) / (S - W))) / 2           afterwards

    The first step already moves, the peak is reached in step W - 1, and zero would be reached at step S, which is
    never made.

    Args:
        step: 0 .. S - 1.
        config: Gives `lr`, `warmup` and `steps`; a warm-up longer than the run never reaches the peak.

    Example:
        >>> config = TrainConfig(steps=10, warmup=2, lr=1.0)
        >>> [round(learning_rate(s, config), 3) for s in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * progress))
