"""Training-free segmentation on the task graph: kernel evidence, kNN edges to the supports, diffusion on the lattice.

1. On the levels l that `coarse_levels` chooses, with features standardised by the supports, averaged to at most `CELLS`
   cells a side and scaled to unit length, the density of class n at a query cell q is a von Mises-Fisher kernel
   estimate over the support cells j,

       log p_l(q | n) = logsumexp_j( t <q, s_j> + log w_jn ) - log sum_j w_jn,

   w_jn the share of cell j that n covers; n = 0 is the background. Classes count equally:
   P_l = softmax_n log p_l(q | n), zero for a class that no support shows.
2. y0 is the mean of P_l over the levels, at the query nodes. With K supports a class, K > 1, it is mixed with the
   softmax over (0, s z_n), z_n the score of the ridge regression in `pixgraph.models.discriminant`, which gets the
   weight m (1 - 1 / K): from a single picture it learns what sets this picture apart, not the class. The 0 is that of
   the background, and is left out where no support shows any.
3. Self-support e (`pixgraph.models.self_support`), told from the query's y0, multiplies its class n by exp(h e_n).
4. Labels spread along the edges by `pixgraph.models.diffusion`; support nodes keep their labels. The constant g of an
   edge is 1 on the lattice; one is for edges from supports (the random ones count only where no kNN edges are asked
   for) and one for kNN edges from other query nodes and from unlabelled pictures, whose own labels spread in the same
   way. Edges among supports, and those towards them, carry nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pixgraph.config import GraphConfig
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.errors import DataError
from pixgraph.graph.backend import Graph
from pixgraph.graph.edges import EdgeKind
from pixgraph.graph.support import SupportPart, support_part
from pixgraph.graph.task import attach_queries
from pixgraph.models.cell_labels import label_areas
from pixgraph.models.completion import MarkCompleter
from pixgraph.models.diffusion import ALONG_LATTICE, COLOR, FEATURE, diffuse, random_walk
from pixgraph.models.discriminant import Discriminant, fit_discriminant, joint_cells, trust_in
from pixgraph.models.evidence import SUPPORT_CELLS
from pixgraph.models.levels import (
    QueryCells,
    Statistics,
    at_most,
    coarse_levels,
    level_statistics,
    standardise,
    unit_cells,
    unit_rows,
)
from pixgraph.models.nodes import node_grids, support_places
from pixgraph.models.places import PicturePlace
from pixgraph.models.self_support import self_support
from pixgraph.models.support_cells import count_shots
from pixgraph.models.support_key import SupportKey

CELLS = 32


@dataclass(frozen=True)
class Diffusion:
    """How evidence becomes labels; chosen on validation classes.

    Attributes:
        sharpness: t, concentration of the kernels.
        alpha: a in [0, 1), how far labels spread; 0 keeps the evidence.
        steps: Steps of the diffusion.
        color: c, how much a colour difference hinders a lattice edge.
        feature: f, how much a feature difference hinders an edge.
        support: g, weight of the edges from the supports beside the lattice edges.
        similar: g of the kNN edges from other query nodes and from unlabelled pictures.
        mix: m in [0, 1], how much the discriminants count with many supports a class.
        steepness: s, of the discriminants' scores.
        ridge: Strength of their ridge, positive.
        self_support: h, how much the query's own likely parts count.
    """

    sharpness: float = 20.0
    alpha: float = 0.9
    steps: int = 20
    color: float = COLOR
    feature: float = FEATURE
    support: float = 0.05
    similar: float = 0.1
    mix: float = 0.6
    steepness: float = 8.0
    ridge: float = 0.1
    self_support: float = 3.0


@dataclass(frozen=True)
class _Supports:
    """What is the same for all queries: statistics, the graph's support part, unit cells and class weights a level."""

    part: SupportPart
    statistics: Statistics
    coarse: list[int]  # levels that carry the evidence
    sampled: torch.Tensor  # (S, C) unit features of the nodes on the finest of the coarse levels
    cells: list[torch.Tensor]  # (S_l, C_l)
    log_weight: list[torch.Tensor]  # (S_l, N+1)
    discriminant: Discriminant | None
    mix: float  # share of the discriminant in y0
    background: float  # its score beside those of the discriminants: 0, or -inf where no support shows any


class PropagatePredictor:
    """The training-free graph mode; see the module's text.

    Args:
        config: How graphs are built.
        seed: Seed of node sampling.
        diffusion: Its constants.
    """

    name = "propagate"

    def __init__(self, config: GraphConfig, seed: int = 0, diffusion: Diffusion | None = None) -> None:
        self.config, self.seed = config, seed
        self.diffusion = Diffusion() if diffusion is None else diffusion
        self._known: tuple[SupportKey, _Supports] | None = None
        self._complete = MarkCompleter()

    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        """Class probabilities of every query, see `Predictor.predict`."""
        return [found.clone() for found in self._predict(task)]  # ordinary tensors, which may be changed in place

    @torch.inference_mode()
    def _predict(self, task: FewShotTask) -> list[torch.Tensor]:
        key = SupportKey(task)  # of the labels as they are given, which decide how they are completed
        task = self._complete(task, key)
        supports = self._supports(task, key)
        return [self._query(task, query, supports) for query in task.query]

    def _query(self, task: FewShotTask, query: Picture, supports: _Supports) -> torch.Tensor:
        around = task.unlabelled if self.config.unlabelled_knn else []
        graph = attach_queries(supports.part, [query], around, support_edges=False)
        grids = node_grids(graph, FewShotTask(task.n_way, task.support, [query], around))
        features, evidence, cells = [supports.sampled], [], list[list[QueryCells]]()
        for picture, grid in zip((query, *around), grids, strict=True):
            maps = standardise(picture, supports.statistics)
            coarse = [maps[i] for i in supports.coarse]
            cells.append(unit_cells(coarse, CELLS))
            evidence.append(self._evidence(coarse, cells[-1], supports, grid))  # (P, N+1)
            features.append(unit_rows(grid.collect(coarse[0])))
        evidence[0] = self._look_again(evidence[0], cells[0], grids[0])
        spread = self._diffuse(graph, torch.cat(features), supports, torch.cat(evidence))
        full = grids[0].pixels(spread[: len(grids[0])], (query.rgb.shape[-2], query.rgb.shape[-1]))
        return full / full.sum(0)

    def _look_again(self, chance: torch.Tensor, cells: list[QueryCells], grid: PicturePlace) -> torch.Tensor:
        """y0 (P, N+1) of the query with self-support."""
        if not self.diffusion.self_support:
            return chance
        factor = (self.diffusion.self_support * self_support(chance[:, 1:], cells, grid)).exp()
        return F.normalize(torch.cat([chance[:, :1], chance[:, 1:] * factor], 1), p=1, dim=1)

    def _evidence(
        self, maps: list[torch.Tensor], query: list[QueryCells], supports: _Supports, grid: PicturePlace
    ) -> torch.Tensor:
        """y0: (P, N+1) at the nodes of the query."""
        total = torch.zeros((), device=maps[0].device)
        for (unit, *shape), cells, log_weight in zip(query, supports.cells, supports.log_weight, strict=True):
            logits = self.diffusion.sharpness * (unit @ cells.T)  # (P_l, S_l)
            density = torch.stack([torch.logsumexp(logits + w, 1) for w in log_weight.unbind(1)], 1)
            chance = density.softmax(1).T.unflatten(1, shape)  # (N+1, h, w)
            total = total + grid.collect(chance)  # (P, N+1)
        y0 = total / len(maps)
        if supports.discriminant is None:
            return y0
        joined = [at_most(level, SUPPORT_CELLS)[None] for level in maps]  # as when it was fitted
        rows, columns = joined[0].shape[-2:]
        score = supports.discriminant.score(joint_cells(joined, rows, columns)).T.unflatten(1, (rows, columns))
        score = self.diffusion.steepness * grid.collect(score)
        return y0.lerp(F.pad(score, (1, 0), value=supports.background).softmax(1), supports.mix)

    def _diffuse(
        self, graph: Graph, feature: torch.Tensor, supports: _Supports, evidence: torch.Tensor
    ) -> torch.Tensor:
        """Y after the last step at all nodes but the supports, whose unit features stand first in `feature`."""
        d, label, ways = self.diffusion, supports.part.label, evidence.shape[1]
        if not d.alpha or not d.steps:
            return evidence
        fixed = F.one_hot(label.clamp_max(ways - 1), ways).to(evidence) * (label < ways)[:, None]
        walk = random_walk(graph, len(label), feature, self._kinds(), d.color, d.feature)
        return diffuse(walk, torch.cat([fixed, evidence]), d.alpha, d.steps)

    def _kinds(self) -> dict[EdgeKind, float]:
        """Weight g of each kind of edge that carries anything."""
        drawn = EdgeKind.QUERY_SUPPORT_KNN if self.config.query_support_knn else EdgeKind.QUERY_SUPPORT_RANDOM
        similar = dict.fromkeys((EdgeKind.QUERY_QUERY_KNN, EdgeKind.UNLABELLED), self.diffusion.similar)
        return {**ALONG_LATTICE, drawn: self.diffusion.support, **similar}

    def _supports(self, task: FewShotTask, key: SupportKey) -> _Supports:
        """What the supports give, kept while the same pictures with the same labels come again."""
        if self._known is None or self._known[0] != key:
            self._known = (key, self._prepare(task))
        return self._known[1]

    def _prepare(self, task: FewShotTask) -> _Supports:
        part = support_part(task.support, self.config, self.seed)
        statistics = level_statistics(task.support)
        chosen = coarse_levels(task.support[0].features, task.support[0].rgb.shape[-2])
        standard = [standardise(p, statistics) for p in task.support]
        maps = [[m[i] for i in chosen] for m in standard]
        label = torch.stack([_label(p) for p in task.support])
        stacked = [at_most(torch.stack(level), CELLS) for level in zip(*maps, strict=True)]  # (B, C_l, h_l, w_l)
        grids = {(level.shape[-2], level.shape[-1]) for level in stacked}  # of several levels each
        areas = {grid: label_areas(label, task.n_way, *grid) for grid in grids}  # (S, N+1) each
        weights = {grid: area.log() - area.sum(0).clamp_min(1e-6).log() for grid, area in areas.items()}
        cells, log_weight = [], []
        for level in stacked:
            cells.append(unit_rows(level.permute(0, 2, 3, 1).flatten(0, 2)))
            log_weight.append(weights[level.shape[-2], level.shape[-1]])  # -inf where a class is not
        places = support_places(part.graph(), task)
        sampled = [place.collect(m[0]) for place, m in zip(places, maps, strict=True)]
        mix = self.diffusion.mix * trust_in(count_shots(task.support, task.n_way))
        discriminant = self._discriminant(stacked, label, task.n_way) if mix else None
        unit = unit_rows(torch.cat(sampled))
        rest = 0.0 if (label == 0).any() else -torch.inf
        return _Supports(part, statistics, chosen, unit, cells, log_weight, discriminant, mix, rest)

    def _discriminant(self, maps: list[torch.Tensor], label: torch.Tensor, n_way: int) -> Discriminant:
        pooled = [at_most(m, SUPPORT_CELLS) for m in maps]
        rows, columns = pooled[0].shape[-2:]
        areas, ridges = label_areas(label, n_way, rows, columns), [self.diffusion.ridge]
        return fit_discriminant(joint_cells(pooled, rows, columns), areas[:, 1:], areas.sum(1), ridges)[0]


def _label(picture: Picture) -> torch.Tensor:
    if picture.label is None:
        raise DataError(f"support {picture.key!r}: got no label, expected a mask; give it one or leave it out")
    return picture.label
