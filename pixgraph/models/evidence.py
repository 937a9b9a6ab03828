"""Class-wise evidence: what the labelled support cells say about a query cell, for one level of a backbone.

For a query cell i and support cells j with unit features, s_ij = <q_i, s_j>, and w_jn the area of cell j that class n
covers, of the area v_j whose label is known, the evidence for class n against the rest is

    a_t = sum_j exp(t s_ij) w_jn / sum_j exp(t s_ij) v_j      attention to the support labels, at two sharpnesses t
    p_t = sigmoid(logit a_t - logit(sum_j w_jn / sum_j v_j))  the same with class and rest weighing equally
    m   = max_{j in fg_n} s_ij,  d = m - max_{j not in fg_n} s_ij                   nearest neighbour of either side
    c   = <q_i, p_n>,            e = c - <q_i, b_n>      prototypes: p_n, b_n are the normalised weighted sums of s_j

p compares kernel density estimates of either side, however much of the supports the class covers; m and d are
1-nearest-neighbour matching, c and e the masked-average-pooling prototypes of PANet (Wang et al., ICCV 2019). The
coarse levels together also give the scores of linear discriminants, see `pixgraph.models.discriminant`. Nothing here
depends on N or on the order of the classes.

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
from pixgraph.models.levels import QueryCells, at_most, coarse_levels, unit_cells, unit_rows
from pixgraph.models.support_cells import SupportCells, merge_background, support_cells

EVIDENCE = 6
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
        cells: Support cells of every level but the finest.
        coarse: Indices of the levels that the discriminants join.
        discriminants: One for each of `RIDGES`.
    """

    cells: list[SupportCells]
    coarse: list[int]
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
    """Cells of each level but the finest, at most `QUERY_CELLS` a side, of maps (C_l, H_l, W_l), finest level first."""
    return unit_cells(maps[1:] or maps, QUERY_CELLS)


class Evidence(nn.Module):
    """The six evidence channels above, with the two sharpnesses learnt.

    Args:
        sharpness: Initial values of the two t.
    """

    def __init__(self, sharpness: tuple[float, float] = (10.0, 40.0)) -> None:
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.tensor([math.log(t) for t in sharpness]))

    def forward(self, query: torch.Tensor, support: SupportCells) -> torch.Tensor:
        """Evidence of each class at each query cell.

        Args:
            query: (P, C) unit features.
            support: The support cells.

        Returns:
            (P, N, 6): p_1, p_2, d, m, e, c of the module's text.
        """
        # float16 could not hold the sums of exponentials.
        with torch.autocast(query.device.type, enabled=False):
            precise = query.to(torch.promote_types(query.dtype, torch.float32))
            mild, sharp = self.log_sharpness.exp().clamp_max(SHARPEST).to(precise)
            keys, area = support.unit.to(precise), support.area.to(precise).T.contiguous()  # (S, C), (N + 1, S)
            # A factor on the queries is one pass over the pairs less; learnt, it would cost frozen features a gradient.
            constant = mild.requires_grad and not (query.requires_grad or keys.requires_grad)
            factor = mild.detach() if constant else mild
            nearest, masses = [], []
            for piece in (precise * factor).split(max(1, PAIRS // max(1, len(keys)))):
                score = keys @ piece.T  # (S, p): sums over the support cells run along rows
                parts = score.split(support.sizes) if support.sizes else ()
                nearest.append(torch.stack([-factor.expand(len(piece)), *(part.amax(0) for part in parts)]))
                steep = (score * (sharp / factor)).exp_()
                gentle = score * (mild / factor) if constant else score
                gentle = gentle.exp() if torch.is_grad_enabled() else gentle.exp_()
                masses.append(torch.stack([area @ near for near in (gentle, steep)]))
            tops = (torch.cat(nearest, 1) / factor).T[:, :, None]  # (P, G + 1, 1)
            best, rival = (tops.where(side, -1.0).amax(1) for side in (support.sides, ~support.sides))  # (P, N) each
            mass = torch.cat(masses, 2)  # (2, N + 1, P)
            attended = mass[:, :-1] / mass[:, -1:].clamp_min(LEAST)
            soft = torch.sigmoid(torch.logit(attended, eps=1e-4) - support.prior[:, None]).transpose(1, 2)  # (2, P, N)
        own, other = (query @ prototype for prototype in support.prototypes)
        return torch.stack([*soft, best - rival, best, own - other, own], 2)


class LevelEvidence(nn.Module):
    """Evidence of every backbone level but the finest, each on its own grid, and of the coarse levels together.

    Support maps are averaged to at most `SUPPORT_CELLS` cells a side, and squares of background are then taken together
    (`merge_background`); query maps to at most `QUERY_CELLS`, so that the cost does not depend on the node stride. The
    finest level, mere edges and colours, serves the upsampling only.

    Args:
        levels: Number of the backbone's levels.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.first = 1 if levels > 1 else 0
        self.levels = nn.ModuleList([Evidence() for _ in range(levels - self.first)])

    @property
    def channels(self) -> int:
        """Channels of all levels and discriminants."""
        return EVIDENCE * len(self.levels) + len(RIDGES)

    def prepare(self, support: list[torch.Tensor], label: torch.Tensor, n_way: int) -> SupportEvidence:
        """What is the same for every query.

        Args:
            support: (B, C_l, H_l, W_l) standardised maps of the supports, finest level first.
            label: (B, H, W) int64 labels of the supports in 0..n_way, or 254 or 255 where it is not known.
            n_way: Number of classes N.
        """
        coarse = coarse_levels(support, label.shape[1])
        used = sorted({*range(self.first, len(support)), *coarse})
        pooled = {i: at_most(support[i], SUPPORT_CELLS) for i in used}
        grids = {i: (maps.shape[-2], maps.shape[-1]) for i, maps in pooled.items()}
        areas = {grid: label_areas(label, n_way, *grid) for grid in set(grids.values())}  # of several levels each
        cells = []
        for i in range(self.first, len(support)):
            merged, area = merge_background(pooled[i], areas[grids[i]].to(pooled[i]))
            cells.append(support_cells(unit_rows(merged), area[:, 1:], area.sum(1)))
        joint = joint_cells([pooled[i] for i in coarse], *grids[coarse[0]])
        area = areas[grids[coarse[0]]].to(joint)
        return SupportEvidence(cells, coarse, fit_discriminant(joint, area[:, 1:], area.sum(1), RIDGES))

    def forward(
        self, query: list[torch.Tensor], cells: Sequence[QueryCells], support: SupportEvidence
    ) -> list[torch.Tensor]:
        """Evidence maps.

        Args:
            query: (C_l, H_l, W_l) standardised maps of one query, finest level first.
            cells: What `query_cells` gives for them.
            support: What `prepare` gave.

        Returns:
            For each level but the finest (N, 6, h_l, w_l); last the scores of the discriminants (N, 2, h, w).
        """
        maps = []
        for evidence, (unit, *grid), known in zip(self.levels, cells, support.cells, strict=True):
            e = evidence(unit, known)  # (P, N, 6)
            maps.append(e.permute(1, 2, 0).unflatten(2, grid))
        # The finest level is among the coarse ones only where a backbone has no levels to spare.
        chosen = [
            cells[i - self.first] if i >= self.first else unit_cells(query[:1], QUERY_CELLS)[0] for i in support.coarse
        ]
        return [*maps, SCALE * score_levels(support.discriminants, chosen)]
