"""The mean teacher: an exponential average of the student that labels pictures, and is what is scored and kept."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from pixgraph.pretrain.target import Target


class Teacher(Target):
    """Copy of the student that follows it; Tarvainen and Valpola (2017), with ReCo's warm-up.

    After step s, counted from 0, it keeps min(1 - 1 / (s + 1), d) of its weights: the first step copies the student,
    and up to 1 / (1 - d) steps it is the mean of all students so far.

    Args:
        student: What is copied.
        decay: d in 0..1.
        mode: Whether it normalises by its batch ("train") or by running statistics ("eval") when it labels.
        buffers: Whether running statistics follow the student's, too. Otherwise they are those of the pictures that the
            teacher itself has seen in training mode.
    """

    def __init__(self, student: nn.Module, decay: float, mode: Literal["train", "eval"], buffers: bool) -> None:
        super().__init__(student)
        self.decay, self.mode, self.with_buffers = decay, mode, buffers

    def train(self, mode: bool = True) -> Teacher:
        """In a training, it is in the mode in which it labels."""
        super().train(mode)
        if mode and self.mode == "eval":
            self.network.eval()
        return self

    @torch.no_grad()
    def follow_step(self, student: nn.Module, step: int) -> float:
        """Take in the student after an optimiser's step.

        Args:
            student: The original.
            step: From 0.

        Returns:
            Share of its weights that the teacher kept.
        """
        kept = min(1 - 1 / (step + 1), self.decay)
        self.follow(student, kept)
        if self.with_buffers:
            for own, new in zip(self.network.buffers(), student.buffers(), strict=True):
                own.lerp_(new, 1 - kept) if own.is_floating_point() else own.copy_(new)
        return kept
