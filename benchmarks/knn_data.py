"""What the neighbour searches of `speed_knn` are asked: points of a photograph, of a CNN's kind, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from skimage.data import astronaut

KINDS = ("photo", "noise")


@dataclass(frozen=True)
class Case:
    """One point of the benchmark.

    Attributes:
        kind: "photo": RGBxy of the pixels of a photograph for d = 5, else vectors as from the feature maps of a CNN,
            smooth and of few intrinsic dimensions; "noise": uniform, the worst case of every tree and graph.
        d: Dimensions.
        n: Points.
        queries: The points themselves if n, else this many of them, drawn, which then find themselves, too.
        k: Neighbours.
    """

    kind: str
    d: int
    n: int
    queries: int
    k: int

    @property
    def whole(self) -> bool:
        """Whether every point asks for its neighbours."""
        return self.queries == self.n


def data(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, d) float32 and the rows (queries,) int64 that ask."""
    rng = np.random.default_rng([case.d, case.n])
    x = rng.random((case.n, case.d), dtype=np.float32) if case.kind == "noise" else _pixels(case.n, case.d)
    return x, np.arange(case.n) if case.whole else np.sort(rng.choice(case.n, case.queries, replace=False))


@lru_cache(maxsize=2)
def _pixels(n: int, d: int) -> np.ndarray:
    """Vectors of the first n pixels of a photograph that was resized to about n."""
    side = int(np.ceil(n**0.5))
    picture = torch.from_numpy(astronaut()).permute(2, 0, 1)[None].float() / 255
    picture = F.interpolate(picture, (side, side), mode="bilinear", antialias=True)
    if d == 5:
        y, x = torch.meshgrid(*[torch.arange(side) / (side - 1)] * 2, indexing="ij")
        maps = torch.cat([picture[0], x[None], y[None]])
    else:
        maps = _random_cnn(picture, d)[0]
    return maps.flatten(1).T[:n].contiguous().numpy()


def _random_cnn(picture: torch.Tensor, d: int) -> torch.Tensor:
    """Feature maps (1, d, H, W) at stride 4, interpolated to every pixel, of a CNN with weights drawn once."""
    generator = torch.Generator().manual_seed(0)
    x = picture - picture.mean((2, 3), keepdim=True)
    for channels, stride in ((64, 2), (128, 2), (d, 1)):
        weight = torch.randn(channels, x.shape[1], 3, 3, generator=generator)
        x = F.conv2d(x, weight / (9 * x.shape[1] / 2) ** 0.5, stride=stride, padding=1).relu()
    return F.interpolate(x / x.std(), picture.shape[2:], mode="bilinear")
