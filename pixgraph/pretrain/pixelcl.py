"""PixelCL: pixel-level contrastive learning of any network, used as the package pixel-level-contrastive-learning is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pixgraph.errors import ConfigError
from pixgraph.pretrain.photometry import Photometry, change_colours
from pixgraph.pretrain.pixelcl_crops import Crops, crop_pairs, cut, draw_crops
from pixgraph.pretrain.pixelcl_losses import agreement, consistency, contrast
from pixgraph.pretrain.pixelcl_modules import MLP, PPM, TappedNetwork

__all__ = ["PPM", "PixelCL"]

COLOURS = Photometry(0.8, 0.2, 0.1, 0.5, strength=(0.8, 0.8, 0.8, 0.2), sigma=(1.5, 1.5), radius=1)
"""Jitter, grey, 3 x 3 blur and solarising of the default augmentation."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, by which the default augmentation normalises."""

Augment = Callable[[torch.Tensor], torch.Tensor]


class DefaultAugment:
    """Changes colours, each picture on its own, and normalises by ImageNet's statistics.

    Args:
        rng: Where all choices come from.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) from (B, 3, H, W); values outside 0..1 are cut off first."""
        changed = torch.stack([change_colours(image, COLOURS, self.rng) for image in images.clamp(0, 1)])
        return (changed - changed.new_tensor(MEAN)[:, None, None]) / changed.new_tensor(STD)[:, None, None]


class PixelCL(nn.Module):
    """Trains a network by pixel consistency or contrast between two crops of a picture, and by BYOL's instance loss.

    Arguments, methods, semantics and the names of all weights are those of pixel-level-contrastive-learning 0.1.1. What
    differs: all parameters exist after the constructor, which leaves the network's batch statistics alone; similarities
    take O(B (h w)^2) memory whatever the channels; `crops` and `seed` are new; what cannot work is refused in words.

    `loss = alpha * pixel loss + instance loss`. The pixel loss is in -1..1 for PixPro, whose optimum a constant map
    reaches too; the instance loss in 0..8. Without any positive pair the loss is the instance loss.

    In `DistributedDataParallel`, pass ``find_unused_parameters=True`` when layers follow the two that are used.

    Args:
        net: The network; it is trained in place.
        image_size: Side of the pictures.
        hidden_layer_pixel: Layer whose map is trained: a name, or the position of a direct child.
        hidden_layer_instance: Layer whose vector the instance loss takes.
        projection_size: Channels of the projections.
        projection_hidden_size: Channels inside the heads.
        augment_fn: Takes and gives (B, 3, H, W); none: `DefaultAugment`, which expects values in 0..1.
        augment_fn2: The same for the second view; none: `augment_fn`.
        prob_rand_hflip: Probability that a view is mirrored.
        moving_average_decay: Share of its weights that the target keeps at an update.
        ppm_num_layers: Layers of the propagation's transform: 0, 1 or 2.
        ppm_gamma: Sharpness of its similarities.
        distance_thres: Cells closer than this many bin diagonals of the whole picture are positive.
        similarity_temperature: Temperature of the contrast.
        alpha: Weight of the pixel loss.
        use_pixpro: Consistency of propagated pixels; false: contrast.
        cutout_ratio_range: Smallest and largest side of a crop, as a share of the picture's.
        cutout_interpolate_mode: How crops are resized.
        coord_cutout_interpolate_mode: How their coordinates are.
        crops: "batch": one crop a view for all pictures, as in the package; "image": every picture its own.
        seed: Seed of crops and colours; none: that of torch's own generator, which is only read.

    Raises:
        ConfigError: A layer is unknown or gives no map, or a setting is out of range.
    """

    def __init__(
        self,
        net: nn.Module,
        image_size: int,
        hidden_layer_pixel: str | int = -2,
        hidden_layer_instance: str | int = -2,
        projection_size: int = 256,
        projection_hidden_size: int = 2048,
        augment_fn: Augment | None = None,
        augment_fn2: Augment | None = None,
        prob_rand_hflip: float = 0.25,
        moving_average_decay: float = 0.99,
        ppm_num_layers: int = 1,
        ppm_gamma: float = 2,
        distance_thres: float = 0.7,
        similarity_temperature: float = 0.3,
        alpha: float = 1.0,
        use_pixpro: bool = True,
        cutout_ratio_range: Sequence[float] = (0.6, 0.8),
        cutout_interpolate_mode: str = "nearest",
        coord_cutout_interpolate_mode: str = "bilinear",
        crops: Literal["batch", "image"] = "batch",
        seed: int | None = None,
    ) -> None:
        super().__init__()
        _check(cutout_ratio_range, moving_average_decay, similarity_temperature, crops)
        self.rng = np.random.default_rng(torch.initial_seed() if seed is None else seed)
        self.augment1: Augment = DefaultAugment(self.rng) if augment_fn is None else augment_fn
        self.augment2: Augment = self.augment1 if augment_fn2 is None else augment_fn2
        self.prob_rand_hflip, self.moving_average_decay = prob_rand_hflip, moving_average_decay
        self.distance_thres, self.similarity_temperature = distance_thres, similarity_temperature
        self.alpha, self.use_pixpro, self.crops = alpha, use_pixpro, crops
        self.cutout_ratio_range, self.cutout_interpolate_mode = cutout_ratio_range, cutout_interpolate_mode
        self.coord_cutout_interpolate_mode = coord_cutout_interpolate_mode
        width = projection_hidden_size
        self.online_encoder = TappedNetwork(
            net, hidden_layer_pixel, hidden_layer_instance, projection_size, width, image_size
        )
        self.online_predictor = MLP(projection_size, projection_size, width)
        if use_pixpro:
            self.propagate_pixels = PPM(chan=projection_size, num_layers=ppm_num_layers, gamma=ppm_gamma)
        self.to(next(self.online_encoder.pixel_projector.parameters()))
        self.target_encoder = copy.deepcopy(self.online_encoder).requires_grad_(False)

    def forward(
        self, x: torch.Tensor, return_positive_pairs: bool = False, crops: tuple[Crops, Crops] | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """The loss of a batch.

        Args:
            x: (B, 3, H, W) pictures.
            return_positive_pairs: Also give the number of positive pairs: of a picture, where all have the same crop;
                of the whole batch otherwise.
            crops: Crops of the two views; drawn where not given.

        Returns:
            The loss, or the loss and the number, both of no dimension.

        Raises:
            ConfigError: The batch is no (B, 3, H, W), or has one picture, of which there are no batch statistics.
        """
        self._refuse(x)
        first, second = crops or (self._draw(x), self._draw(x))
        views = (
            self.augment1(cut(x, first, self.cutout_interpolate_mode)),
            self.augment2(cut(x, second, self.cutout_interpolate_mode)),
        )
        (pixel1, instance1), (pixel2, instance2) = (self.online_encoder(view) for view in views)
        with torch.no_grad():
            (pixel_target1, instance_target1), (pixel_target2, instance_target2) = map(self.target_encoder, views)
            sizes, mode = (x.shape[2:], pixel1.shape[2:]), self.coord_cutout_interpolate_mode
            pairs = crop_pairs(first, second, *sizes, self.distance_thres, mode, x.device)
        pixel = self._pixel_loss(pixel1, pixel_target2, pairs) + self._pixel_loss(pixel2, pixel_target1, pairs.mT)
        instance = agreement(self.online_predictor(instance1), instance_target2)
        instance = instance + agreement(self.online_predictor(instance2), instance_target1)
        loss = self.alpha * pixel / 2 + instance.mean()
        return (loss, pairs.sum()) if return_positive_pairs else loss

    @torch.no_grad()
    def update_moving_average(self) -> None:
        """Let the target's parameters follow: ``t = decay t + (1 - decay) w``; call it after the optimiser's step.

        Buffers are the target's own: it runs in the same mode as the network and gathers its own batch statistics.
        """
        online, target = (list(encoder.parameters()) for encoder in (self.online_encoder, self.target_encoder))
        get_ema_multi_avg_fn(self.moving_average_decay)(target, online, None)

    def reset_moving_average(self) -> None:
        """Make the target a copy of the network again, buffers included."""
        self.target_encoder.load_state_dict(self.online_encoder.state_dict())

    def _draw(self, x: torch.Tensor) -> Crops:
        """Random crops of one view."""
        count = 1 if self.crops == "batch" else len(x)
        return draw_crops(count, x.shape[2:], self.cutout_ratio_range, self.prob_rand_hflip, self.rng)

    def _pixel_loss(self, online: torch.Tensor, target: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """One direction of the pixel loss of maps (B, D, h, w)."""
        if self.use_pixpro:
            return consistency(self.propagate_pixels(online).flatten(2), target.flatten(2), pairs)
        return contrast(online.flatten(2), target.flatten(2), pairs, self.similarity_temperature)

    def _refuse(self, x: torch.Tensor) -> None:
        """Say what is wrong with a batch.

        Raises:
            ConfigError: Something is.
        """
        if x.ndim != 4 or not x.is_floating_point():
            raise ConfigError(f"images: got {x.dtype} of shape {tuple(x.shape)}, expected floats of shape (B, 3, H, W)")
        if self.training and len(x) < 2:
            raise ConfigError("images: got one picture, expected two or more: batch norm needs them to train")


def _check(ratio: Sequence[float], decay: float, temperature: float, crops: str) -> None:
    if not 0 < ratio[0] <= ratio[1] <= 1:
        raise ConfigError(f"cutout_ratio_range: got {tuple(ratio)}, expected 0 < smallest <= largest <= 1")
    if not 0 <= decay <= 1:
        raise ConfigError(f"moving_average_decay: got {decay}, expected a share in 0..1")
    if temperature <= 0:
        raise ConfigError(f"similarity_temperature: got {temperature}, expected more than 0")
    if crops not in ("batch", "image"):
        raise ConfigError(f"crops: got {crops!r}, expected 'batch' or 'image'")
