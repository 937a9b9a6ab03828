"""How the logits of a trained network are refined by what is not learnt: three corrections, in this order.

    l_n <- l_n + s (1 - 1 / K) z_n                z_n: ridge regression on the supports (`pixgraph.models.discriminant`)
    l_n <- l_n + h e_n(p)                         e_n: self-support (`pixgraph.models.self_support`)
    l_n <- log (D p)_n - log (D p)_0              D: diffusion along the lattice (`pixgraph.models.diffusion`)

where p is the softmax over (0, l_1, ..., l_N) at the nodes, and K the number of supports a class. What a network learns
about its training classes makes its own logits good there, and all this superfluous; on other classes it is not. So it
is left out in training: a network that is trained with self-support gains less from it (validation classes, 250 steps:
39.0 % mIoU without, 41.1 trained with it, 42.7 where only the finished network has it). Labels spread by colour alone:
features, which the network has seen, add 0.2 points with one support and none with five.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from pixgraph.config import ModelConfig
from pixgraph.graph.backend import Graph
from pixgraph.models.diffusion import ALONG_LATTICE, diffuse, random_walk
from pixgraph.models.discriminant import trust_in
from pixgraph.models.levels import QueryCells
from pixgraph.models.places import PicturePlace
from pixgraph.models.self_support import self_support

STEPS = 2
COLOR = 80.0  # what a colour difference takes from the logarithm of an edge's weight
LEAST = 1e-6  # probability that still has a logarithm


def refine(
    logits: torch.Tensor,
    graph: Graph,
    places: Sequence[PicturePlace],
    cells: Sequence[Sequence[QueryCells]],
    discriminants: Sequence[torch.Tensor],
    shots: float,
    config: ModelConfig,
) -> torch.Tensor:
    """Logits with the three corrections of the module's text.

    Args:
        logits: (V - first, N) of the last nodes of the graph.
        graph: Along its lattices labels spread.
        places: Where the nodes of each query are; what comes out at others has no meaning.
        cells: For each query its cells of each level that is compared.
        discriminants: For each query the scores z (N, h, w); none: the first correction is left out.
        shots: K.
        config: The strengths s (`discriminant`) and h (`self_support`), and how far labels spread (`diffusion`).

    Returns:
        (V - first, N), at least in single precision.
    """
    first = graph.num_nodes() - len(logits)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    regressed = config.discriminant * trust_in(shots)
    if regressed and discriminants:
        found = [place.collect(z) for place, z in zip(places, discriminants, strict=True)]
        logits = _added(logits, regressed, found, places, first)
    if config.self_support:
        chance = _chances(logits)[:, 1:]
        found = [
            self_support(chance[place.nodes_from(first)], levels, place)
            for place, levels in zip(places, cells, strict=True)
        ]
        logits = _added(logits, config.self_support, found, places, first)
    if not config.diffusion:
        return logits
    start = F.pad(_chances(logits), (0, 0, first, 0))  # no lattice leads from a support to a query
    walk = random_walk(graph, first, None, ALONG_LATTICE, COLOR)
    spread = diffuse(walk, start, config.diffusion, STEPS).clamp_min(LEAST).log()
    return spread[:, 1:] - spread[:, :1]


def _chances(logits: torch.Tensor) -> torch.Tensor:
    """Probabilities (V, N + 1) of background and classes."""
    return F.pad(logits, (1, 0)).softmax(1)


def _added(
    logits: torch.Tensor, strength: float, found: Sequence[torch.Tensor], places: Sequence[PicturePlace], first: int
) -> torch.Tensor:
    """Logits (V - first, N) plus what was found at the nodes of each query."""
    together = torch.cat(list(found))  # queries follow one another
    before = places[0].first - first
    return logits + strength * F.pad(together, (0, 0, before, len(logits) - before - len(together)))
