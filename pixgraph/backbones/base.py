"""The contract of every backbone: a frozen network that turns photographs into a few feature maps."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import torch
from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A frozen feature extractor; always in evaluation mode, with normalisation of the picture inside.

    Subclasses implement `extract`, then call `describe` at the end of their constructor.

    Attributes:
        name: What `BackboneConfig.name` calls it.
        pretrained_on: Where its weights come from, for every table that shows a result.
        levels: Names of the feature maps inside the network, finest first.
        channels: Channels of each level.
        strides: Pixels between two neighbouring cells of each level.
    """

    channels: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        name: str,
        pretrained_on: str,
        levels: tuple[str, ...],
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.name = name
        self.pretrained_on = pretrained_on
        self.levels = levels
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def extract(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of normalised pictures (B, 3, H, W), finest first."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of a batch of pictures.

        Args:
            x: (B, 3, H, W) float in 0..1.

        Returns:
            One (B, C_l, H_l, W_l) float32 map a level, finest first, H_l about H / strides[l].
        """
        return [f.float() for f in self.extract((x - self.mean) / self.std)]

    def train(self, mode: bool = True) -> Backbone:
        """Stays in evaluation mode: batch statistics must not drift under frozen weights."""
        return super().train(False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy is in evaluation mode, too; torchvision's traced networks would come up training."""
        super().__setstate__(state)
        self.eval()

    def describe(self, side: int = 64) -> None:
        """Freezes the weights and measures `channels` and `strides` on an empty picture of side x side pixels."""
        self.eval().requires_grad_(False)
        maps = self(torch.zeros(1, 3, side, side))
        self.channels = tuple(m.shape[1] for m in maps)
        self.strides = tuple(round(side / m.shape[2]) for m in maps)

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits over name, levels, normalisation and weights: features under one fingerprint are the same."""
        digest = hashlib.sha256(repr((self.name, self.levels, self.strides)).encode())
        tensors = dict(self.state_dict(), mean=self.mean, std=self.std)
        for key, value in sorted(tensors.items()):
            if not key.endswith("num_batches_tracked"):  # a counter of the training, without effect on the features
                digest.update(key.encode())
                digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, channels={self.channels}, strides={self.strides})"
