"""The target network: a slowly following copy of the student, without gradient."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Target(nn.Module):
    """Copy of a network whose parameters follow those of the original by an exponential moving average.

        t <- m t + (1 - m) s

    for every parameter s of the student, which after n steps of constant s from t_0 gives s + m^n (t_0 - s). Buffers
    are not averaged: as in PixPro's own code, the batch norms of the target are in training mode, use the statistics of
    their batch, and keep running ones of their own.

    Calling it is calling the copy; no gradient passes.

    Args:
        student: What is copied; on the same device.
    """

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """What the copy gives."""
        return self.network(*inputs)

    @torch.no_grad()
    def follow(self, student: nn.Module, decay: float) -> None:
        """Take in the student's parameters.

        Args:
            student: The original, of the same structure.
            decay: m in 0..1; 0 copies it, 1 changes nothing.

        Raises:
            ValueError: `decay` lies outside 0..1.
        """
        if not 0 <= decay <= 1:
            raise ValueError(f"Target.follow: got decay {decay}, expected 0..1")
        get_ema_multi_avg_fn(decay)(list(self.network.parameters()), list(student.parameters()), None)
