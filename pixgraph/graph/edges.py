"""Kinds of edges, and the three numbers that describe an edge."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import torch

from pixgraph.config import GraphConfig
from pixgraph.errors import ConfigError
from pixgraph.graph.lattice import shifted_pairs

COLORS = ("mean_abs", "euclidean", "ciede2000")
CHUNK = 2**16
"""Edges described at a time on a CPU: few enough to stay in its cache, enough to hide what a call costs."""


class EdgeKind(IntEnum):
    """Why two nodes are joined."""

    BG_BG = 0
    FG_FG = 1
    FG_BG = 2
    LATTICE = 3
    QUERY_SUPPORT_RANDOM = 4
    QUERY_SUPPORT_KNN = 5
    QUERY_QUERY_KNN = 6
    UNLABELLED = 7


def edge_features(
    rgbxy: torch.Tensor, image: torch.Tensor, src: torch.Tensor, dst: torch.Tensor, color: str = "mean_abs"
) -> torch.Tensor:
    """The three numbers of each edge: colour difference, half the Manhattan distance, whether in the same picture.

    All are symmetric in source and destination and lie in 0..1 (`"euclidean"` reaches sqrt(3), `"ciede2000"`, which is
    divided by 100, slightly more than 1).

    Args:
        rgbxy: (V, 5) float32 nodes: R, G, B in 0..1, x and y in 0..1.
        image: (V,) int64 index of each node's picture.
        src: (E,) int64.
        dst: (E,) int64.
        color: ``"mean_abs"``, ``"euclidean"`` or ``"ciede2000"``.

    Returns:
        (E, 3) float32.

    Raises:
        ConfigError: `color` is unknown.
    """
    feature = torch.empty(len(src), 3, device=rgbxy.device)
    fill_features(feature, rgbxy.T.contiguous(), src, dst, color)
    feature[:, 2] = image.index_select(0, src) == image.index_select(0, dst)
    return feature


def fill_features(
    feature: torch.Tensor, planes: torch.Tensor, src: torch.Tensor, dst: torch.Tensor, color: str
) -> None:
    """Write colour difference and distance of `edge_features` into the first two columns of `feature`.

    Args:
        feature: (E, 3) float32.
        planes: (5, V) float32, contiguous: R, G, B, x and y of the nodes, which are gathered faster than rows of five.
        src: (E,) int64.
        dst: (E,) int64.
        color: As in `edge_features`.
    """
    rows = CHUNK if planes.device.type == "cpu" else max(len(src), 1)
    for out, start, end in zip(feature.split(rows), src.split(rows), dst.split(rows), strict=True):
        one, other = planes.index_select(1, start), planes.index_select(1, end)  # (5, n)
        out[:, 0] = color_difference(one[:3].T, other[:3].T, color)
        distance = (one[3:] - other[3:]).abs_()
        torch.add(distance[0], distance[1], out=out[:, 1]).mul_(0.5)


def fill_lattice_features(
    feature: torch.Tensor,
    rgb: torch.Tensor,
    steps: tuple[float, float],
    dilations: Sequence[int],
    color: str,
    connectivity: int = 4,
) -> None:
    """`edge_features` of `lattice_edges`, from differences of the shifted picture and without any gather.

    Args:
        feature: (E, 3) float32, written to in the order of `lattice_edges`.
        rgb: (h, w, 3) float32 colours of the nodes; fastest where each colour is contiguous.
        steps: Distance of neighbouring nodes along y and x, in the units of the node feature.
        dilations: Sorted, without repetitions.
        color: As in `edge_features`.
        connectivity: As in `lattice_edges`.
    """
    feature[:, 2] = 1
    start = 0
    for one, other, (down, across) in shifted_pairs(rgb, dilations, connectivity):
        count = one.shape[0] * one.shape[1]
        both = feature[start : start + 2 * count].view(2, count, 3)
        both[:, :, 0] = color_difference(one, other, color).reshape(-1)
        both[:, :, 1] = 0.5 * (down * steps[0] + across * steps[1])
        start += 2 * count


def switch_features(feature: torch.Tensor, config: GraphConfig) -> torch.Tensor:
    """The features (E, 3) of edges with zeros, in place, for those that the configuration leaves out."""
    for column, kept in enumerate((config.color_feature, config.distance_feature, config.image_feature)):
        if not kept:
            feature[:, column] = 0
    return feature


def color_difference(first: torch.Tensor, second: torch.Tensor, color: str = "mean_abs") -> torch.Tensor:
    """Difference of colours: mean absolute, Euclidean, or CIEDE2000 / 100.

    Args:
        first: (..., 3) float32 RGB in 0..1.
        second: The same shape.
        color: ``"mean_abs"``, ``"euclidean"`` or ``"ciede2000"``.

    Returns:
        (...) float32.

    Raises:
        ConfigError: `color` is unknown.
    """
    if color == "mean_abs":
        return _sum3((first - second).abs_()).div_(3)
    if color == "euclidean":
        return _sum3((first - second).square_()).sqrt_()
    if color == "ciede2000":
        from skimage.color import deltaE_ciede2000, rgb2lab

        delta = deltaE_ciede2000(rgb2lab(first.cpu().numpy()), rgb2lab(second.cpu().numpy())) / 100
        return torch.from_numpy(delta).to(first)
    raise ConfigError(f"color: got {color!r}, expected one of {', '.join(COLORS)}")


def _sum3(x: torch.Tensor) -> torch.Tensor:
    """Sum over a last dimension of 3: three times as fast as torch's reduction of so short a dimension."""
    return (x[..., 0] + x[..., 1]).add_(x[..., 2])
