"""PixPro with one vector a pixel: drawn pairs and local propagation (a thesis of Kazan Federal University, 2022)."""

from __future__ import annotations

import math

import torch

from pixgraph.errors import ConfigError
from pixgraph.losses.pixpro import CHANCE, PAIR_BEST, pixpro_loss, pixpro_pair_loss
from pixgraph.pretrain.branch import Projected
from pixgraph.pretrain.config import PretrainConfig
from pixgraph.pretrain.encoders import DenseEncoder
from pixgraph.pretrain.heads import Cells
from pixgraph.pretrain.local_ppm import LocalPropagation
from pixgraph.pretrain.methods import Logs, PixelMethod, pair_logs
from pixgraph.pretrain.pairs import positive_pairs
from pixgraph.pretrain.ppm import PixelPropagation
from pixgraph.pretrain.sampled_pairs import SampledPairs, sample_pairs
from pixgraph.pretrain.views import ViewBatch


class FullPixPro(PixelMethod):
    """PixPro on the finest map of a UNet, at sampled positive pairs; on its bottleneck as a whole where asked.

    A picture that is skipped adds 0 and counts in the mean, so that the loss over several processes is the mean of
    theirs.

    Args:
        encoder: Its first map is compared pixel by pixel, its last one is the bottleneck.
        config: The run's configuration.

    Raises:
        ConfigError: A setting of the propagation has no meaning, or there is no bottleneck.
    """

    def __init__(self, encoder: DenseEncoder, config: PretrainConfig) -> None:
        super().__init__(encoder, config)
        pixel = config.pixel
        sharpness = (pixel.projection, pixel.ppm_layers, pixel.ppm_gamma, pixel.ppm_clamp)
        self.propagation = LocalPropagation(*sharpness, pixel.propagation, pixel.reach)
        self.coarse_propagation = PixelPropagation(*sharpness) if pixel.bottleneck_weight > 0 else None

    def pixel_loss(
        self, own: tuple[Projected, Projected], followed: tuple[Projected, Projected], batch: ViewBatch, seed: int
    ) -> tuple[torch.Tensor, Logs]:
        """`pixgraph.losses.pixpro.pixpro_pair_loss` of drawn pairs, and half `pixpro_loss` of the bottleneck."""
        pairs = self.pairs(batch, seed)
        pixels = (pairs.first, pairs.second)
        first, second = (
            self.propagation(one.pixel, pairs.image, pixel) for one, pixel in zip(own, pixels, strict=True)
        )
        target, target2 = (one.pixel.to(first.dtype) for one in followed)
        loss = pixpro_pair_loss(first, second, target, target2, len(batch.first) * self.config.num_pairs)
        logs: Logs = {"pixpro": loss.detach(), "pixpro_chance": CHANCE, "pixpro_best": PAIR_BEST}
        if self.coarse_propagation is not None:
            coarse = self._bottleneck_loss(own, followed, batch)
            loss = loss + self.config.bottleneck_weight * coarse
            logs |= {"bottleneck": coarse.detach(), "bottleneck_chance": CHANCE, "bottleneck_best": PAIR_BEST}
        return loss, logs | pair_logs(pairs.counts)

    def compared_cells(self, batch: ViewBatch, seed: int) -> tuple[Cells | None, Cells | None]:
        """The cells of the drawn pairs."""
        pairs = self.pairs(batch, seed)
        return Cells(pairs.image, pairs.first), Cells(pairs.image, pairs.second)

    def pairs(self, batch: ViewBatch, seed: int) -> SampledPairs:
        """Drawn positive pairs of the finest maps of the views.

        Raises:
            ConfigError: The map has fewer pixels than are to be drawn.
        """
        pixel, stride = self.config, self.encoder.strides[0]
        shape = [side // stride for side in batch.first.shape[2:]]
        if math.prod(shape) < pixel.intersect_limit:
            raise ConfigError(
                f"{self.encoder.name}: its finest map has {shape[1]} x {shape[0]} cells, fewer than "
                f"pixel.intersect_limit {pixel.intersect_limit}: every picture would be skipped; take a UNet, larger "
                "views, or a smaller limit"
            )
        rects = (batch.rect1, batch.rect2, batch.index)
        limits = (pixel.threshold, pixel.num_pairs, pixel.intersect_limit)
        return sample_pairs(*rects, shape, *limits, seed, pixel.pairs)

    def _bottleneck_loss(
        self, own: tuple[Projected, Projected], followed: tuple[Projected, Projected], batch: ViewBatch
    ) -> torch.Tensor:
        """The official loss without its factor 2, as in the thesis."""
        maps = [one.bottleneck for one in (*own, *followed) if one.bottleneck is not None]
        propagation = self.coarse_propagation
        if propagation is None or len(maps) < 4:
            raise ValueError("FullPixPro: got no bottleneck maps, expected those of student and target")
        shape = maps[0].shape[2:]
        positive = positive_pairs(batch.rect1, batch.rect2, shape, self.config.threshold, self.config.pairs)
        return pixpro_loss(propagation(maps[0]), propagation(maps[1]), maps[2], maps[3], positive) / 2
