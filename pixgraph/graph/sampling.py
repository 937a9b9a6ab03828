"""Which pixels of a labelled picture become support nodes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.errors import ConfigError, DataError

STRATEGIES = ("uniform", "boundary", "farthest")
BOUNDARY_SCALE = 0.02
"""Distance over which the boundary strategy's weight falls by 1/e, as a share of the picture's longer side."""
BOUNDARY_FLOOR = 0.05
"""Weight, relative to the boundary's, that remains far from it."""
FARTHEST_POOL = 16
"""The farthest-point strategy chooses among this many uniform candidates a node."""


@dataclass(frozen=True)
class SampledNodes:
    """Pixels drawn from one picture, in row-major order.

    Attributes:
        rows: (n,) int64.
        cols: (n,) int64.
        label: (n,) int64: 0 background, 1..N.
        shortfall: For the background and each class in the mask: how many pixels it lacks of the number asked for.
    """

    rows: np.ndarray
    cols: np.ndarray
    label: np.ndarray
    shortfall: dict[int, int]

    def __len__(self) -> int:
        return len(self.rows)


def sample_nodes(
    label: np.ndarray | torch.Tensor,
    num_fg: int,
    num_bg: int,
    strategy: str = "uniform",
    seed: int = 0,
    key: str = "",
) -> SampledNodes:
    """Draw `num_fg` pixels of each class and `num_bg` of the background, without replacement.

    Every pixel gets one random number from (seed, key), and a class takes its pixels with the smallest ones, so that
    the numbering of the classes has no influence. A class with fewer pixels gives all of them. ``"boundary"``
    divides an exponential variate by a weight that falls with the distance to the nearest other label (Efraimidis and
    Spirakis, 2006); ``"farthest"`` picks, among uniform candidates, the one farthest from those already picked.

    Args:
        label: (H, W) integers: 0 background, 1..253 classes, 254 and 255 unknown (never drawn).
        num_fg: Pixels of each class in the mask.
        num_bg: Pixels of the background.
        strategy: ``"uniform"``, ``"boundary"`` or ``"farthest"``.
        seed: Seed of the draw.
        key: The picture's key, which gives every picture its own draw.

    Raises:
        ConfigError: The strategy is unknown or a count negative.
        DataError: `label` is not (H, W), or holds values outside 0..255.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"sampling: got {strategy!r}, expected one of {', '.join(STRATEGIES)}")
    if min(num_fg, num_bg) < 0:
        raise ConfigError(f"num_fg and num_bg: got {num_fg} and {num_bg}, expected counts of 0 or more")
    mask = _checked(label, key)
    flat = mask.ravel()
    counts = np.bincount(flat, minlength=256)
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    draw = rng.random(flat.size)  # (H*W,)
    if strategy == "boundary":
        draw = -np.log1p(-draw) / _boundary_weight(mask).ravel()
    picked, shortfall = [], {}
    for c in [0, *np.flatnonzero(counts[1:UNLABELLED]) + 1]:
        wanted = num_bg if c == 0 else num_fg
        shortfall[int(c)] = max(0, wanted - int(counts[c]))
        picked.append(_pick(flat == c, int(counts[c]), draw, wanted, mask.shape[1], strategy))
    index = np.sort(np.concatenate(picked))
    return SampledNodes(index // mask.shape[1], index % mask.shape[1], flat[index].astype(np.int64), shortfall)


def _checked(label: np.ndarray | torch.Tensor, key: str) -> np.ndarray:
    """The label map as an array of integers 0..255."""
    mask = label.cpu().numpy() if isinstance(label, torch.Tensor) else np.asarray(label)
    if mask.ndim != 2 or mask.dtype.kind not in "iub" or mask.size == 0:
        raise DataError(f"label of {key!r}: got {mask.dtype} of shape {mask.shape}, expected integers (H, W)")
    if mask.dtype != np.uint8:
        if mask.min() < 0 or mask.max() > IGNORE:
            raise DataError(f"label of {key!r}: got values {mask.min()}..{mask.max()}, expected 0..N and {IGNORE}")
        mask = mask.astype(np.uint8)
    return mask


def _pick(member: np.ndarray, count: int, draw: np.ndarray, wanted: int, width: int, strategy: str) -> np.ndarray:
    """`wanted` of the `count` pixels where `member` (H*W,) is true: those of smallest `draw`, or spread over these."""
    if count <= wanted or wanted == 0:
        return np.flatnonzero(member)[:wanted]
    if strategy != "farthest":
        return _smallest(member, count, draw, wanted)
    pool = _smallest(member, count, draw, min(count, FARTHEST_POOL * wanted))
    return pool[_farthest(np.stack([pool // width, pool % width], axis=1), wanted)]


def _smallest(member: np.ndarray, count: int, draw: np.ndarray, wanted: int) -> np.ndarray:
    """The `wanted` of the members of smallest `draw`, in ascending order of it."""
    # Uniform draws below this limit are about twice as many as are wanted: few pixels need to be sorted.
    pixels = np.flatnonzero(member & (draw < 2 * wanted / count))
    if len(pixels) < wanted:
        pixels = np.flatnonzero(member)
    return pixels[np.argsort(draw[pixels], kind="stable")[:wanted]]


def _farthest(points: np.ndarray, wanted: int) -> np.ndarray:
    """Indices of `wanted` of `points` (n, 2): each is the farthest from those before it; the first is point 0."""
    distance = np.full(len(points), np.inf)
    chosen = np.zeros(wanted, dtype=np.int64)
    # Each choice depends on all before it: the loop is over nodes because the method is.
    for i in range(1, wanted):
        difference = points - points[chosen[i - 1]]
        np.minimum(distance, (difference * difference).sum(axis=1), out=distance)
        chosen[i] = distance.argmax()
    return chosen


def _boundary_weight(mask: np.ndarray) -> np.ndarray:
    """(H, W) weights: 1 at pixels with another label beside them, falling to `BOUNDARY_FLOOR` away from these."""
    edge = np.zeros(mask.shape, dtype=bool)
    down, right = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    if not edge.any():
        return np.ones(mask.shape)
    distance = ndimage.distance_transform_edt(~edge)
    return BOUNDARY_FLOOR + (1 - BOUNDARY_FLOOR) * np.exp(-distance / (BOUNDARY_SCALE * max(mask.shape)))
