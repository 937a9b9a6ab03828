"""Edges among support nodes, the only ones that labels may shape: who is foreground decides who may be joined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.config import GraphConfig
from pixgraph.graph.edges import EdgeKind
from pixgraph.graph.partners import draw_distinct, split_counts

CHUNK = 1 << 22
"""Similarities held at once."""


@dataclass(frozen=True)
class Group:
    """The support nodes of one sort (foreground or background), sorted by picture.

    Attributes:
        nodes: (m,) int64 ids.
        start: (P + 1,) int64: picture p holds the members start[p] .. start[p + 1] - 1.
    """

    nodes: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, member: np.ndarray) -> Group:
        """Group the nodes where `member` (S,) is true; `image` (S,) is ascending."""
        nodes = np.flatnonzero(member)
        bounds = np.arange(int(image.max(initial=-1)) + 2)
        return cls(nodes, np.searchsorted(image[nodes], bounds))


def support_pairs(
    image: np.ndarray,
    foreground: np.ndarray,
    vectors: torch.Tensor | None,
    config: GraphConfig,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Undirected support edges of all three kinds, without self-loops or repetitions.

    Each node of a kind's first sort draws the configured number of partners; a pair that both ends drew is kept once,
    so a node has at least as many edges as it drew.

    Args:
        image: (S,) int64, ascending: the nodes' pictures.
        foreground: (S,) bool.
        vectors: (S, d) float32 in which ``fg_fg_mode="nearest"`` ranks by cosine; `None` if not needed.
        config: Counts and ratios.
        rng: Source of randomness.

    Returns:
        Two arrays (P,) int64 with the lower and the higher id of each pair, and (P,) uint8 kinds.
    """
    fg, bg = Group.of(image, foreground), Group.of(image, ~foreground)
    ratio = config.intra_ratio
    drawn = [
        _random_pairs(image, bg, bg, config.bg_bg, _or(config.bg_bg_intra, ratio), rng),
        _nearest_pairs(image, fg, vectors, config.fg_fg, _or(config.fg_fg_intra, ratio))
        if config.fg_fg_mode == "nearest" and vectors is not None
        else _random_pairs(image, fg, fg, config.fg_fg, _or(config.fg_fg_intra, ratio), rng),
        _random_pairs(image, fg, bg, config.fg_bg, _or(config.fg_bg_intra, ratio), rng),
    ]
    kinds = (EdgeKind.BG_BG, EdgeKind.FG_FG, EdgeKind.FG_BG)
    low, high, kind = [], [], []
    for (a, b), k in zip(drawn, kinds, strict=True):
        code = np.sort(np.minimum(a, b) * len(image) + np.maximum(a, b))
        code = code[np.diff(code, prepend=-1) > 0]
        low.append(code // max(len(image), 1))
        high.append(code % max(len(image), 1))
        kind.append(np.full(len(code), k, dtype=np.uint8))
    return np.concatenate(low), np.concatenate(high), np.concatenate(kind)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _random_pairs(
    image: np.ndarray, group: Group, partners: Group, count: int, ratio: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Each node of `group` with `count` random distinct ones of `partners`, itself excluded."""
    own = image[group.nodes]
    first, last = partners.start[own], partners.start[own + 1]  # (m,) the own picture's members among the partners
    alike = group is partners
    intra_pool = last - first - alike
    inter_pool = len(partners.nodes) - (last - first)
    intra_count, inter_count = split_counts(count, ratio, intra_pool, inter_pool)
    intra = draw_distinct(rng, intra_pool, intra_count, len(own))
    if alike:
        # Leave a gap at the node itself, whose rank within its picture is its position less the picture's first.
        rank = np.arange(len(own)) - first
        intra += intra >= rank[:, None]
    inter = draw_distinct(rng, inter_pool, inter_count, len(own))
    inter_member = np.where(inter >= first[:, None], inter + (last - first)[:, None], inter)
    slots = np.arange(intra.shape[1]), np.arange(inter.shape[1])
    member = np.concatenate([intra + first[:, None], inter_member], axis=1)
    used = np.concatenate([slots[0] < intra_count[:, None], slots[1] < inter_count[:, None]], axis=1)
    source = np.broadcast_to(group.nodes[:, None], member.shape)
    return source[used], partners.nodes[member[used]]


def _nearest_pairs(
    image: np.ndarray, group: Group, vectors: torch.Tensor, count: int, ratio: float
) -> tuple[np.ndarray, np.ndarray]:
    """Each node of `group` with its nearest others, by cosine, within its picture and outside of it."""
    own = image[group.nodes]
    size = np.diff(group.start)[own]
    intra_count, inter_count = split_counts(count, ratio, size - 1, len(own) - size)
    unit = F.normalize(vectors[torch.from_numpy(group.nodes).to(vectors.device)], dim=1)
    picture = torch.from_numpy(own).to(vectors.device)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    rows = max(1, CHUNK // max(len(own), 1))
    for begin in range(0, len(own), rows):
        part = slice(begin, begin + rows)
        similarity = unit[part] @ unit.T  # (rows, m)
        same = picture[part, None] == picture
        at = torch.arange(similarity.shape[0], device=similarity.device)
        similarity[at, at + begin] = -torch.inf
        for candidates, counts in ((same, intra_count[part]), (~same, inter_count[part])):
            slots = int(counts.max(initial=0))
            if slots:
                found = similarity.masked_fill(~candidates, -torch.inf).topk(slots, dim=1).indices.cpu().numpy()
                used = np.arange(slots) < counts[:, None]
                source = np.broadcast_to(group.nodes[part, None], found.shape)
                pairs.append((source[used], group.nodes[found[used]]))
    if not pairs:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])
