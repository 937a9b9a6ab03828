"""PixPro and PixContrast: all positive pairs of cells of one map a view."""

from __future__ import annotations

import torch

from pixgraph.errors import ConfigError
from pixgraph.losses import pixcontrast, pixpro
from pixgraph.pretrain.branch import Projected
from pixgraph.pretrain.config import PretrainConfig
from pixgraph.pretrain.encoders import DenseEncoder
from pixgraph.pretrain.methods import Logs, PixelMethod, pair_logs
from pixgraph.pretrain.pairs import positive_pairs
from pixgraph.pretrain.ppm import PixelPropagation
from pixgraph.pretrain.views import ViewBatch

MOST_PAIRS = 2**31
"""Pairs of cells of a batch, at most: a byte each."""


class PixPro(PixelMethod):
    """PixPro (Xie et al. 2021): the student's propagated map agrees with the target's, where the places are the same.

    Args:
        encoder: Its first map is trained.
        config: The run's configuration.

    Raises:
        ConfigError: A setting of the propagation has no meaning.
    """

    def __init__(self, encoder: DenseEncoder, config: PretrainConfig) -> None:
        super().__init__(encoder, config)
        pixel = config.pixel
        self.propagation = PixelPropagation(pixel.projection, pixel.ppm_layers, pixel.ppm_gamma, pixel.ppm_clamp)

    def pixel_loss(
        self, own: tuple[Projected, Projected], followed: tuple[Projected, Projected], batch: ViewBatch, seed: int
    ) -> tuple[torch.Tensor, Logs]:
        """`pixgraph.losses.pixpro.pixpro_loss` of the propagated maps."""
        positive = all_pairs(self, own[0].pixel, batch)
        first, second = (self.propagation(one.pixel) for one in own)
        loss = pixpro.pixpro_loss(first, second, followed[0].pixel, followed[1].pixel, positive)
        logs: Logs = {"pixpro": loss.detach(), "pixpro_chance": pixpro.CHANCE, "pixpro_best": pixpro.BEST}
        return loss, logs | pair_logs(positive.sum((1, 2)))


class PixContrast(PixelMethod):
    """PixContrast (Xie et al. 2021): a cell is told from the other cells of the other view by where it is."""

    def pixel_loss(
        self, own: tuple[Projected, Projected], followed: tuple[Projected, Projected], batch: ViewBatch, seed: int
    ) -> tuple[torch.Tensor, Logs]:
        """`pixgraph.losses.pixcontrast.pixcontrast_loss` of the projected maps."""
        positive = all_pairs(self, own[0].pixel, batch)
        (first, second), (target, target2) = ([one.pixel for one in pair] for pair in (own, followed))
        loss = pixcontrast.pixcontrast_loss(first, second, target, target2, positive, self.config.temperature)
        logs: Logs = {"pixcontrast": loss.detach(), "pixcontrast_chance": pixcontrast.pixcontrast_chance(positive)}
        return loss, logs | pair_logs(positive.sum((1, 2)))


def all_pairs(method: PixelMethod, x: torch.Tensor, batch: ViewBatch) -> torch.Tensor:
    """The positive pairs of two maps of the size of `x` (B, D, H, W); bool (B, HW, HW).

    Raises:
        ConfigError: There would be more than `MOST_PAIRS` to look at.
    """
    height, width = x.shape[2:]
    if len(x) * (height * width) ** 2 > MOST_PAIRS:
        raise ConfigError(
            f"{method.encoder.name}: a map of {width} x {height} cells has {(height * width) ** 2:,} pairs a picture, "
            f"more than a batch of {len(x)} can compare; take the method pixpro_full, a coarser layer, a smaller "
            "views.size or a smaller optim.batch"
        )
    pixel = method.config
    return positive_pairs(batch.rect1, batch.rect2, (height, width), pixel.threshold, pixel.pairs)
