"""Ridge regression from the features of labelled support cells to their labels, in closed form.

The differentiable ridge regression of R2D2 (Bertinetto et al., ICLR 2019) used as evidence: for support cells x_j with
the share y_j in 0..1 that class n covers, and weights b_j with which class and rest count equally,

    min over v, o of  sum_j b_j (<v, x_j> + o - y_j)^2 + r |v|^2,
    b_j = y_j k_j / sum_i y_i k_i + (1 - y_j) k_j / sum_i (1 - y_i) k_i,

with k_j the share of cell j whose label is known. A cell that looks like class n scores above one half. A prototype or
a kernel weighs all directions of the features alike; this finds those in which class and rest differ, which takes cells
of several pictures to tell from those in which the pictures differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from pixgraph.models.levels import QueryCells, resample


def trust_in(shots: float) -> float:
    """How much the regression tells with K supports a class, 1 - 1 / K.

    From a single picture it learns what sets this picture apart, not the class.

    Args:
        shots: K; less than one counts as one.
    """
    return 1 - 1 / max(1.0, shots)


class Discriminant(NamedTuple):
    """A linear score of each class.

    Attributes:
        direction: (N, C).
        offset: (N,).
    """

    direction: torch.Tensor
    offset: torch.Tensor

    def score(self, cells: torch.Tensor) -> torch.Tensor:
        """Scores (P, N) of cells (P, C): above zero for what looks like the class, about -1/2 to 1/2."""
        return torch.addmm(self.offset, cells, self.direction.T)


def joint_cells(maps: Sequence[torch.Tensor], rows: int, columns: int) -> torch.Tensor:
    """Cells with the features of several levels side by side, each of unit length on its level's own grid.

    Args:
        maps: (B, C_l, H_l, W_l) each.
        rows: Rows of cells.
        columns: Columns of cells.

    Returns:
        (B * rows * columns, sum of C_l).
    """
    grids = [resample(F.normalize(m, dim=1), rows, columns) for m in maps]
    return torch.cat(grids, 1).permute(0, 2, 3, 1).flatten(0, 2)


def score_levels(discriminants: Sequence[Discriminant], levels: Sequence[QueryCells]) -> torch.Tensor:
    """Scores of the `joint_cells` of several levels on the grid of the first: (N, number of discriminants, h, w).

    Scores and resampling are linear: levels are scored one by one, and no cell with all channels is ever made.
    """
    direction = torch.stack([d.direction for d in discriminants], 1)  # (N, R, C)
    total = torch.stack([d.offset for d in discriminants], 1)[:, :, None, None]
    parts = direction.split([level.unit.shape[1] for level in levels], 2)
    for (unit, *grid), part in zip(levels, parts, strict=True):
        total = total + resample((part @ unit.T).unflatten(2, grid), levels[0].rows, levels[0].columns)
    return total


@torch.no_grad()
def fit_discriminant(
    cells: torch.Tensor, weight: torch.Tensor, known: torch.Tensor, ridges: Sequence[float]
) -> list[Discriminant]:
    """Fit the regression of the module's text for each class and each strength of the ridge.

    Args:
        cells: (S, C) features.
        weight: (S, N) share of a cell that each class covers.
        known: (S,) share whose label is known.
        ridges: Values of r, positive.

    Returns:
        One for each value of r. A class that covers nothing or everything gets a constant score.
    """
    share = weight / known.clamp_min(1e-6)[:, None]
    fits = [_fit_class(cells, y, y * known, (1 - y).clamp_min(0) * known, ridges) for y in share.unbind(1)]
    return [
        Discriminant(*(torch.stack(part) for part in zip(*of_ridge, strict=True)))
        for of_ridge in zip(*fits, strict=True)
    ]


def _fit_class(
    cells: torch.Tensor, share: torch.Tensor, own: torch.Tensor, rest: torch.Tensor, ridges: Sequence[float]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Direction (C,) and offset () for each ridge, with the known area (S,) of class and rest in each cell."""
    balance = own / own.sum().clamp_min(1e-6) + rest / rest.sum().clamp_min(1e-6)  # (S,), b
    total = balance.sum().clamp_min(1e-6)
    center, level = balance @ cells / total, balance @ share / total
    root = balance.sqrt()
    x, y = (cells - center) * root[:, None], (share - level) * root
    # With fewer cells than channels v is a combination of cells: a smaller system with the same solution.
    dual = len(x) < x.shape[1]
    gram = x @ x.T if dual else x.T @ x
    goal = y if dual else x.T @ y
    found = []
    for ridge in ridges:
        factor = torch.linalg.cholesky(gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
        answer = torch.cholesky_solve(goal[:, None], factor)[:, 0]
        direction = x.T @ answer if dual else answer
        found.append((direction, level - direction @ center - 0.5))
    return found
