"""From coarse to fine: what the features of a query and their evidence say of each class, at the scale of objects.

    y_l = f_l( A_l x_l + B_l [e_ln, (e_ln - mean) / deviation] + up(y_{l+1}) )      for each level l that is compared

x_l are the standardised features of a level, the same for all classes, e_ln its evidence for class n, and f_l two 3 x 3
convolutions that also see where in the picture a cell is: the top-down path of feature pyramids (Lin et al., CVPR 2017)
given what is known of a class, as in PFENet (Tian et al., TPAMI 2020). Classes share all weights and do not mix.
Channels come last in memory throughout, in which order convolutions of so few are a quarter faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.models.channels_last import mix_channels, resample_last
from pixgraph.models.evidence import EVIDENCE, QUERY_CELLS, RIDGES, relative
from pixgraph.models.levels import at_most

GROUPS = 8
PLACE = 2  # a cell's row and column


class EvidencePyramid(nn.Module):
    """One block of convolutions a level, from the coarsest to the finest of those that are compared.

    Args:
        channels: Channels of these levels, finest first.
        width: Channels inside.
        hidden: Share of the features' channels that are hidden in training.
    """

    def __init__(self, channels: Sequence[int], width: int, hidden: float) -> None:
        super().__init__()
        self.hidden = hidden
        self.features = nn.ModuleList([nn.Conv2d(c, width, 1) for c in channels])
        self.evidence = nn.ModuleList([nn.Conv2d(2 * EVIDENCE, width, 1) for _ in channels])
        self.joint = nn.Conv2d(2 * len(RIDGES), width, 1)
        # The weights, too: PyTorch would bring them into that order at each call.
        self.blocks = nn.ModuleList([_block(width) for _ in channels]).to(memory_format=torch.channels_last)

    def forward(self, maps: Sequence[torch.Tensor], evidence: Sequence[torch.Tensor]) -> torch.Tensor:
        """The finest of the maps y_l.

        Args:
            maps: (C_l, H_l, W_l) standardised features of one query, level by level, finest first.
            evidence: What `LevelEvidence` gives for them: (N, 6, h_l, w_l) each, last (N, 2, h, w) of the coarse
                levels together.

        Returns:
            (N, width, h, w) on the grid of the first of the maps, of at most 32 cells a side.
        """
        cells = [at_most(m, QUERY_CELLS) for m in maps]
        joint: torch.Tensor | None = mix_channels(with_contrast(evidence[-1]), self.joint)
        y: torch.Tensor | None = None
        for level in reversed(range(len(cells))):
            (rows, columns), layer = cells[level].shape[1:], self.features[level]
            seen = F.dropout2d(cells[level][None], self.hidden, self.training).flatten(2)[0]  # (C_l, h * w)
            x = mix_channels(seen.T, cast(nn.Conv2d, layer)).unflatten(0, (1, rows, columns))
            x = x + mix_channels(with_contrast(evidence[level]), cast(nn.Conv2d, self.evidence[level]))
            if joint is not None and (rows >= joint.shape[1] or not level):  # the coarsest level that is as fine
                x, joint = x + resample_last(joint, rows, columns), None
            if y is not None:
                x = x + resample_last(y, rows, columns)
            where = places(rows, columns, x.device).to(x).expand(len(x), -1, -1, -1)
            y = self.blocks[level](torch.cat([x, where], 3).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return cast(torch.Tensor, y).permute(0, 3, 1, 2)


def with_contrast(evidence: torch.Tensor) -> torch.Tensor:
    """Evidence (N, channels, h, w), and behind it how it differs from the rest of the query: (N, h, w, 2 channels)."""
    last = evidence.permute(0, 2, 3, 1)
    return torch.cat([last, relative(last, (1, 2))], 3)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def places(rows: int, columns: int, device: torch.device) -> torch.Tensor:
    """Row and column of each cell of a map, from -1 to 1 between the picture's edges: (rows, columns, 2) float32."""
    down, across = ((2 * torch.arange(n, device=device) + 1) / n - 1 for n in (rows, columns))
    return torch.stack(torch.meshgrid(down, across, indexing="ij"), 2)


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width + PLACE, width, 3, padding=1),
        nn.GroupNorm(math.gcd(GROUPS, width), width),
        nn.GELU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(math.gcd(GROUPS, width), width),
        nn.GELU(),
    )
