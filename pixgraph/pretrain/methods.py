"""The pixel-level methods: what a step computes from two views of a batch of pictures."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import nn

from pixgraph.errors import ConfigError
from pixgraph.losses import instance
from pixgraph.pretrain.branch import Branch, Projected
from pixgraph.pretrain.config import PretrainConfig
from pixgraph.pretrain.encoders import DenseEncoder
from pixgraph.pretrain.heads import Cells, PixelHead
from pixgraph.pretrain.monitors import collapse_monitors
from pixgraph.pretrain.target import Target
from pixgraph.pretrain.views import ViewBatch
from pixgraph.training.schedule import following_decay

METHODS = ("pixpro", "pixcontrast", "pixpro_full")

Logs: TypeAlias = dict[str, "float | torch.Tensor"]


class PixelMethod(nn.Module):
    """Student and target on two views: a loss of their pixels, and of the whole views where asked.

    Subclasses implement `pixel_loss`. The order of a step is: this module's forward pass, backward, the optimiser's
    step, `update_target`. So the target lags behind the student by the momentum alone; PixPro's own code follows at the
    start of the next forward pass, which is the same target in every forward pass but for the first step's momentum.

    Args:
        encoder: The student's encoder; trained in place.
        config: The run's configuration; `pixel` is used.
    """

    def __init__(self, encoder: DenseEncoder, config: PretrainConfig) -> None:
        super().__init__()
        self.config = config.pixel
        self.student = Branch(encoder, config.pixel)
        self.target = Target(self.student)
        size = (config.pixel.projection, config.pixel.hidden, config.pixel.projection)
        self.predictor = PixelHead(*size) if config.pixel.instance_weight > 0 else None

    @property
    def encoder(self) -> DenseEncoder:
        """What is kept of the training: the student's encoder."""
        return self.student.encoder

    def compared_cells(self, batch: ViewBatch, seed: int) -> tuple[Cells | None, Cells | None]:
        """Cells of the target's two maps that `pixel_loss` reads; none: all of them."""
        return None, None

    def pixel_loss(
        self, own: tuple[Projected, Projected], followed: tuple[Projected, Projected], batch: ViewBatch, seed: int
    ) -> tuple[torch.Tensor, Logs]:
        """Loss of the pixels, and what to log of it.

        Args:
            own: The student's maps of the first and of the second view.
            followed: The target's, without gradient, or what `compared_cells` chose of them.
            batch: The views, for their rectangles.
            seed: Of everything random.
        """
        raise NotImplementedError

    def forward(self, batch: ViewBatch, seed: int) -> tuple[torch.Tensor, Logs]:
        """Loss of a batch, with gradients of the student.

        Args:
            batch: Two views of B pictures.
            seed: Of everything random in the step.

        Returns:
            A scalar, and numbers to log: scalars without gradient or floats. Each term stands beside its value for
            unrelated directions or equal vectors (``_chance``) and, where that is the same at collapse, beside its
            optimum (``_best``). ``positives``: pairs a picture; ``skipped``: pictures without any; ``no_pairs``: 1 when
            the batch has none, and its loss of pixels is 0 with gradient zero; see `collapse_monitors` for the rest.

        Raises:
            ConfigError: The batch or the views are too small for the network, or too large for the method.
        """
        cells = self.compared_cells(batch, seed)
        followed = self.target(batch.first, cells[0]), self.target(batch.second, cells[1])  # first: frees its memory
        own = self.student(batch.first), self.student(batch.second)
        loss, logs = self.pixel_loss(own, followed, batch, seed)
        if self.predictor is not None:
            predicted = [self.predictor(_known(one.instance)) for one in own]
            term = instance.instance_loss(*predicted, *(_known(one.instance) for one in followed))
            loss = loss + self.config.instance_weight * term
            logs |= {"instance": term.detach(), "instance_chance": instance.CHANCE, "instance_best": 0.0}
        return loss, {**logs, **collapse_monitors(own[0].pixel)}

    def update_target(self, decay: float) -> None:
        """Let the target keep `decay` of its parameters and take the rest from the student; after the optimiser's step.

        Args:
            decay: In 0..1.
        """
        self.target.follow(self.student, decay)

    def after_step(self, step: int, steps: int) -> dict[str, float]:
        """Let the target follow as `pixel.momentum` and its schedule say.

        Args:
            step: Step that the optimiser has just made, 0 .. steps - 1.
            steps: Of the whole run.

        Returns:
            ``momentum``: share of its parameters that the target kept.
        """
        decay = following_decay(step, steps, self.config.momentum, self.config.momentum_schedule)
        self.update_target(decay)
        return {"momentum": decay}


def build_method(name: str, encoder: DenseEncoder, config: PretrainConfig) -> PixelMethod:
    """A method by its name.

    Args:
        name: "pixpro", "pixcontrast" or "pixpro_full".
        encoder: What is trained.
        config: The run's configuration.

    Raises:
        ConfigError: The name is unknown, or a setting does not fit the encoder.
    """
    from pixgraph.pretrain.full_resolution import FullPixPro
    from pixgraph.pretrain.pixpro import PixContrast, PixPro

    if name not in METHODS:
        raise ConfigError(f"method {name!r} is unknown; expected one of {', '.join(METHODS)}")
    if config.pixel.bottleneck_weight > 0 and name != "pixpro_full":
        weight = config.pixel.bottleneck_weight
        raise ConfigError(
            f"pixel.bottleneck_weight is {weight:g}, but {name} trains one map; expected 0, or the method pixpro_full"
        )
    kinds: dict[str, type[PixelMethod]] = dict(zip(METHODS, (PixPro, PixContrast, FullPixPro), strict=True))
    return kinds[name](encoder, config)


def pair_logs(counts: torch.Tensor) -> Logs:
    """What to log of the numbers of positive pairs of the pictures, (B,)."""
    skipped = (counts == 0).sum()
    return {"positives": counts.float().mean(), "skipped": skipped, "no_pairs": (skipped == len(counts)).float()}


def _known(x: torch.Tensor | None) -> torch.Tensor:
    if x is None:
        raise ValueError("PixelMethod: got no map for the instance branch, expected one from student and target")
    return x
