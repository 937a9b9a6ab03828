"""Self-support: what a query says about a class once it is known roughly where in the query that class is.

An object looks more like its other parts than like another object of its class. With p_in in 0..1 for how likely query
cell i shows class n, and unit features q_i, the prototypes of Fan et al., Self-Support Few-Shot Semantic Segmentation
(ECCV 2022), with all cells weighted by their probability instead of those above a threshold, give the evidence

    e_in = <q_i, f_n> - <q_i, g_n>,   f_n ~ sum_i p_in q_i,   g_n ~ sum_i (1 - p_in) q_i,   |f_n| = |g_n| = 1.

Its mean over the coarse levels of the backbone, times a strength, is added to the logits. Nothing here is learnt: what
a network learns about its training classes makes its own logits good there, and this superfluous; on other classes it
is not. The more supports there are, the less the query has to tell: the strength is divided by their number a class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from pixgraph.models.evidence import QueryCells
from pixgraph.models.levels import resample
from pixgraph.models.places import PicturePlace


def self_evidence(unit: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
    """The evidence of the module's text.

    Args:
        unit: (P, C) unit features of all cells of one query.
        chance: (P, N) in 0..1.

    Returns:
        (P, N) in -2..2; a class that is nowhere or everywhere has just one of the two terms.
    """
    own = F.normalize(chance.T @ unit, dim=1)
    rest = F.normalize((1 - chance).T @ unit, dim=1)
    return unit @ (own - rest).T


def self_support(logits: torch.Tensor, cells: Sequence[QueryCells], place: PicturePlace) -> torch.Tensor:
    """Mean evidence of several levels at the nodes of one query.

    Args:
        logits: (P, N) of the nodes against a background of zero.
        cells: The query's cells of each level.
        place: Where the nodes are.

    Returns:
        (P, N) in -2..2.
    """
    chance = place.image(F.pad(logits, (1, 0)).softmax(1)[:, 1:], place.first)  # (N, rows, columns)
    found = []
    for unit, rows, columns in cells:
        on_grid = self_evidence(unit, resample(chance, rows, columns).flatten(1).T)  # (P_l, N)
        found.append(place.collect(on_grid.T.unflatten(1, (rows, columns))))
    return torch.stack(found).mean(0)
