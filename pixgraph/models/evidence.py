"""Class-wise evidence: what the labelled support cells say about a query cell, for one level of a backbone.

For a query cell i and support cells j with unit features, s_ij = <q_i, s_j>, and w_jn the area of cell j that class n
covers, of the area v_j whose label is known, the evidence for class n against the rest is

    a_t = sum_j exp(t s_ij) w_jn / sum_j exp(t s_ij) v_j      attention to the support labels, at one or more t
    p_t = sigmoid(logit a_t - logit(sum_j w_jn / sum_j v_j))  the same with class and rest weighing equally
    m   = max_{j in fg_n} s_ij,  d = m - max_{j not in fg_n} s_ij                   nearest neighbour of either side
    c   = <q_i, p_n>,            e = c - <q_i, b_n>      prototypes: p_n, b_n are the normalised weighted sums of s_j

p compares kernel density estimates of either side, however much of the supports the class covers; m and d are
1-nearest-neighbour matching, c and e the masked-average-pooling prototypes of PANet (Wang et al., ICCV 2019). All
levels together also give the scores of linear discriminants, see `pixgraph.models.discriminant`. Nothing here depends
on N or on the order of the classes.

How large evidence is depends on the class and on the supports; `relative` says how it differs from the rest of the
query, which tells more about a class never seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from pixgraph.models.cell_labels import label_areas
from pixgraph.models.discriminant import Discriminant, fit_discriminant, joint_cells, score_levels
from pixgraph.models.levels import QueryCells, at_most, unit_cells, unit_rows
from pixgraph.models.support_cells import SupportCells, merge_background, support_cells

SHARPNESS = (10.0, 40.0)
"""Initial sharpnesses t of the backbone's levels."""

SINGLE = 4
"""Channels of the evidence that no sharpness has a part in."""

EVIDENCE = len(SHARPNESS) + SINGLE
"""Channels of the evidence of one level."""

SHARPEST = 70.0
"""Largest sharpness: exp(-70) to 10,000 exp(70) are ordinary numbers in single precision."""

LEAST = 1e-37
"""Keeps a quotient of two such sums defined where both are zero."""

PAIRS = 2**19
"""Pairs of query and support cells compared at a time: some megabytes, and few calls."""

SUPPORT_CELLS = 16
QUERY_CELLS = 32

RIDGES = (0.1, 1.0)
"""Strengths of the ridge, one channel each."""

SCALE = 4.0
"""Brings the discriminants' scores to the range of the other channels."""

SPREAD = 0.02
"""Least spread of evidence over a query that `relative` takes for more than noise."""


class SupportEvidence(NamedTuple):
    """What evidence needs of the supports.

    Attributes:
        cells: Support cells of each level.
        discriminants: One for each of `RIDGES`.
    """

    cells: list[SupportCells]
    discriminants: list[Discriminant]


def relative(evidence: torch.Tensor, over: int | tuple[int, ...] = 0) -> torch.Tensor:
    """Evidence less its mean over the cells of one query, over twice its deviation.

    Args:
        evidence: (P, N, channels) at P nodes, or maps of any shape.
        over: Dimensions of the nodes or cells.
    """
    deviation, mean = torch.std_mean(evidence, over, correction=0, keepdim=True)
    return (evidence - mean) / (2 * (deviation + SPREAD))


def query_cells(maps: Sequence[torch.Tensor]) -> list[QueryCells]:
    """Cells of each of the levels that are compared, at most `QUERY_CELLS` a side, of their maps (C_l, H_l, W_l)."""
    return unit_cells(maps, QUERY_CELLS)


class Evidence(nn.Module):
    """The evidence channels above, with the sharpnesses learnt.

    Args:
        sharpness: Initial values of the t.
    """

    def __init__(self, sharpness: Sequence[float] = SHARPNESS) -> None:
        super().__init__()
        self.channels = len(sharpness) + SINGLE
        self.log_sharpness = nn.Parameter(torch.tensor([math.log(t) for t in sharpness]))

    def forward(self, query: torch.Tensor, support: SupportCells) -> torch.Tensor:
        """Evidence of each class at each query cell.

        Args:
            query: (P, C) unit features.
            support: The support cells.

        Returns:
            (P, N, channels): p for each t, then d, m, e, c of the module's text.
        """
        # float16 could not hold the sums of exponentials.
        with torch.autocast(query.device.type, enabled=False):
            precise = query.to(torch.promote_types(query.dtype, torch.float32))
            # exp(t s) as a power of two: `exp2` takes a third of the time of `exp` where MKL's serves an AMD processor.
            mild, *sharper = self.log_sharpness.exp().clamp_max(SHARPEST).mul(math.log2(math.e)).to(precise)
            keys, area = support.unit.to(precise), support.area.to(precise).T.contiguous()  # (S, C), (N + 1, S)
            # A factor on the queries is one pass over the pairs less; learnt, it would cost frozen features a gradient.
            constant = mild.requires_grad and not (query.requires_grad or keys.requires_grad)
            factor = mild.detach() if constant else mild
            nearest, masses = [], []
            for piece in (precise * factor).tensor_split(max(1, math.ceil(len(precise) * len(keys) / PAIRS))):
                score = keys @ piece.T  # (S, p): sums over the support cells run along rows
                parts = score.split(support.sizes) if support.sizes else ()
                nearest.append(torch.stack([-factor.expand(len(piece)), *(part.amax(0) for part in parts)]))
                steep = [(score * (sharp / factor)).exp2_() for sharp in sharper]
                gentle = score * (mild / factor) if constant else score
                gentle = gentle.exp2() if torch.is_grad_enabled() else gentle.exp2_()
                masses.append(torch.stack([area @ near for near in (gentle, *steep)]))
            tops = (torch.cat(nearest, 1) / factor).T[:, :, None]  # (P, G + 1, 1)
            best, rival = (tops.where(side, -1.0).amax(1) for side in (support.sides, ~support.sides))  # (P, N) each
            mass = torch.cat(masses, 2)  # (T, N + 1, P)
            attended = mass[:, :-1] / mass[:, -1:].clamp_min(LEAST)
            soft = torch.sigmoid(torch.logit(attended, eps=1e-4) - support.prior[:, None]).transpose(1, 2)  # (T, P, N)
        own, other = (query @ prototype for prototype in support.prototypes)
        return torch.stack([*soft, best - rival, best, own - other, own], 2)


class LevelEvidence(nn.Module):
    """Evidence of each of the backbone's levels that are compared, on its own grid, and of all of them together.

    Support maps are averaged to at most `SUPPORT_CELLS` cells a side, and squares of background are then taken together
    (`merge_background`); query maps to at most `QUERY_CELLS`, so that the cost does not depend on the node stride.

    Args:
        levels: Number of the levels, see `compared_levels`.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList([Evidence() for _ in range(levels)])

    @property
    def channels(self) -> int:
        """Channels of all levels and discriminants."""
        return EVIDENCE * len(self.levels) + len(RIDGES)

    def prepare(self, support: Sequence[torch.Tensor], label: torch.Tensor, n_way: int) -> SupportEvidence:
        """What is the same for every query.

        Args:
            support: (B, C_l, H_l, W_l) standardised maps of the supports, finest level first.
            label: (B, H, W) int64 labels of the supports in 0..n_way, or 254 or 255 where it is not known.
            n_way: Number of classes N.
        """
        pooled = [at_most(maps, SUPPORT_CELLS) for maps in support]
        grids = [(maps.shape[-2], maps.shape[-1]) for maps in pooled]
        areas = {grid: label_areas(label, n_way, *grid).to(pooled[0]) for grid in grids}  # of several levels each
        cells = []
        for maps, grid in zip(pooled, grids, strict=True):
            merged, area = merge_background(maps, areas[grid])
            cells.append(support_cells(unit_rows(merged), area[:, 1:], area.sum(1)))
        area = areas[grids[0]]
        joint = joint_cells(pooled, *grids[0])
        return SupportEvidence(cells, fit_discriminant(joint, area[:, 1:], area.sum(1), RIDGES))

    def forward(self, cells: Sequence[QueryCells], support: SupportEvidence) -> list[torch.Tensor]:
        """Evidence maps of a query.

        Args:
            cells: What `query_cells` gives.
            support: What `prepare` gave.

        Returns:
            For each level (N, 6, h_l, w_l); last the scores of the discriminants (N, 2, h, w) on the grid of the first.
        """
        maps = []
        for evidence, (unit, *grid), known in zip(self.levels, cells, support.cells, strict=True):
            e = evidence(unit, known)  # (P, N, 6)
            maps.append(e.permute(1, 2, 0).unflatten(2, grid))
        return [*maps, SCALE * score_levels(support.discriminants, cells)]
