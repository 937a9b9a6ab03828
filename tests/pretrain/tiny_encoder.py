"""A network small enough for tests, and views of noise."""

import torch
from torch import nn

from pixgraph.pretrain.config import PixelConfig, PretrainConfig, ViewConfig
from pixgraph.pretrain.encoders import DenseEncoder
from pixgraph.pretrain.views import ViewBatch

WHOLE = [0.0, 0.0, 1.0, 1.0]


class TinyEncoder(DenseEncoder):
    """Two convolutions: a map at `strides[0]`, and one at the following strides.

    Args:
        strides: 1, 2 or 4 for the first map; with a second number, a bottleneck that is so much coarser.
    """

    def __init__(self, *strides):
        super().__init__("tiny", "nothing")
        sizes = [3, 6, 8][: len(strides) + 1]
        self.network = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 2 * s + 1, s, s), nn.BatchNorm2d(b), nn.ReLU())
            for a, b, s in zip(sizes, sizes[1:], strides, strict=False)
        )
        self.describe(16)

    def maps(self, x):
        found = []
        for block in self.network:
            x = block(x)
            found.append(x)
        return found


def tiny_config(size=16, **pixel):
    settings = {"projection": 8, "hidden": 12, "num_pairs": 12, "intersect_limit": 8, "reach": 4, **pixel}
    return PretrainConfig(views=ViewConfig(size=size), pixel=PixelConfig(**settings))


def tiny_batch(count=3, size=16, seed=0, rects=None):
    """Views of noise; without rectangles the views are crops that overlap."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(2, count, 3, size, size, generator=generator)
    first, second = rects or (WHOLE, [0.9, 0.1, 0.2, 0.8])
    rows = [torch.tensor([r] * count) if isinstance(r[0], float) else torch.tensor(r) for r in (first, second)]
    return ViewBatch(*pixels, *rows, torch.arange(count))
