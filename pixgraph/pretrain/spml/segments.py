"""Segments of a batch: clusters split by label and low-level region, what is known of each, and their directions."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from pixgraph.data.base import IGNORE
from pixgraph.pretrain.spml.kmeans import OUTSIDE
from pixgraph.pretrain.spml.sums import group_sums


class Segments(NamedTuple):
    """The segments of a batch; each lies in one picture and is pure in label and region.

    Attributes:
        id: (B, h, w) int64 segment of each pixel in 0 .. S - 1; -1 outside.
        image: (S,) int64 position of its picture in the batch.
        label: (S,) int64 label of all its pixels: a class, or 254.
        region: (S,) int64 low-level region of all its pixels.
    """

    id: torch.Tensor
    image: torch.Tensor
    label: torch.Tensor
    region: torch.Tensor


def split_segments(clusters: torch.Tensor, label: torch.Tensor, region: torch.Tensor | None = None) -> Segments:
    """Split the clusters of each picture by the label and the region of their pixels.

    Args:
        clusters: (B, h, w) int64, -1 outside; see `spherical_kmeans`.
        label: (B, h, w) int64 classes and 254; pixels of 255 are outside.
        region: (B, h, w) int64, at least 0; none: a picture is one region.

    Returns:
        The segments, in the order of picture, cluster, label and region.
    """
    if region is None:
        region = torch.zeros_like(clusters)
    inside = (clusters != OUTSIDE) & (label != IGNORE)
    image = torch.arange(len(clusters), device=clusters.device).view(-1, 1, 1).expand_as(clusters)[inside]
    cluster, own, low = clusters[inside], label[inside], region[inside]
    clusters_each = int(cluster.max()) + 1 if len(cluster) else 1
    regions_each = int(low.max()) + 1 if len(low) else 1
    key = ((image * clusters_each + cluster) * (IGNORE + 1) + own) * regions_each + low
    keys, inverse = key.unique(return_inverse=True)
    ids = torch.full_like(clusters, OUTSIDE)
    ids[inside] = inverse
    rest = keys // regions_each
    return Segments(ids, rest // (IGNORE + 1) // clusters_each, rest % (IGNORE + 1), keys % regions_each)


def directions(vectors: torch.Tensor, segment: torch.Tensor, count: int) -> torch.Tensor:
    """The normalised sum of the vectors of each segment, with gradient; zero for one without vectors.

    Args:
        vectors: (n, D).
        segment: (n,) int64 in 0 .. count - 1.
        count: Number of segments S.

    Returns:
        (S, D).
    """
    return F.normalize(group_sums(vectors, segment, count), dim=1)
