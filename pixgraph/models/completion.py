"""From marks to labels: what points, scribbles and boxes leave open on a support gets its label along its own graph.

The nodes are cells of the picture, marked or not, on the lattice of `pixgraph.graph.marks`.

1. Every label n has a kernel density at a cell q, over the cells j that are marked with it, with weights a_jn,

       k_qj = t <q, s_j> - c |rgb_q - rgb_j| - |xy_q - xy_j|^2 / (2 s^2),
       log p(q | n) = logsumexp_j( k_qj + log a_jn ) - b log sum_j a_jn,

   <q, s> the mean cosine over the backbone's levels of stride `FINEST` and more, standardised over the picture. Inside
   a box every cell counts as marked, a little. The prior is softmax_n log p(q | n); where nobody marked the background,
   that has the density of all cells.
2. `spread_labels` brings the labels of the marked nodes and the prior to all nodes, along lattice edges of weight
   exp(-e |rgb_q - rgb_r| - f (1 - <q, r>)), <q, r> over the finer levels; a node hears its prior with the weight r.

The outcome is interpolated to the pixels; those where it stays unsure remain unlabelled. Marks keep their label. Other
supports have no influence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.graph.backend import Graph
from pixgraph.graph.lattice import shifted_pairs
from pixgraph.graph.marks import mark_graph, sure_label
from pixgraph.models.cell_labels import label_shares
from pixgraph.models.harmonic import spread_labels
from pixgraph.models.levels import level_statistics, resample, standardise, unit_rows
from pixgraph.models.support_key import SupportKey

CELLS = 32
"""Cells a side at which densities are compared, at most."""

NODES = 64
"""Nodes a side of the lattice, at most."""

FINEST = 8
"""Levels of this stride and more tell things apart within a picture."""

EDGE_LEVELS = (4, 16)
"""Strides of the levels that tell where a thing ends."""


@dataclass(frozen=True)
class Completion:
    """How marks become labels; chosen on validation classes.

    Attributes:
        sharpness: t, concentration of the kernels.
        color: c, how much a colour difference takes from a kernel.
        reach: s, how far a mark tells of its surroundings, in sides of the picture.
        balance: b in [0, 1]: 1 compares mean densities, 0 their sums, by which many marks outweigh few.
        caution: What the background's logarithm gets on top: marks of a class lie in the midst of its objects.
        box: a of a cell inside a box, beside 1 of a marked one.
        edge_color: e, how much a colour difference hinders a lattice edge.
        edge_feature: f, how much a feature difference hinders it.
        restart: r, in mean degrees of a node.
        sure: Least chance at which a pixel gets its label.
    """

    sharpness: float = 15.0
    color: float = 8.0
    reach: float = 0.5
    balance: float = 0.0
    caution: float = 3.0
    box: float = 0.5
    edge_color: float = 20.0
    edge_feature: float = 5.0
    restart: float = 0.02
    sure: float = 0.5


class MarkCompleter:
    """Completes the supports of tasks, and remembers the last ones.

    Args:
        settings: Its constants.
    """

    def __init__(self, settings: Completion | None = None) -> None:
        self.settings = Completion() if settings is None else settings
        self._known: tuple[SupportKey, list[Picture] | None] | None = None

    def __call__(self, task: FewShotTask, key: SupportKey | None = None) -> FewShotTask:
        """The task with the labels of marked supports completed; the task itself where every support has a mask.

        Args:
            task: The task.
            key: Of the task, from who has it already.
        """
        key = SupportKey(task) if key is None else key
        if self._known is None or self._known[0] != key:  # to look for marks takes longer than to compare keys
            marked = any(_is_marked(p) for p in task.support)
            self._known = (key, complete_task(task, self.settings).support if marked else None)
        support = self._known[1]
        return task if support is None else replace(task, support=support)


def complete_task(task: FewShotTask, settings: Completion | None = None) -> FewShotTask:
    """The task with the labels of marked supports completed; the task itself where every support has a mask."""
    if not any(_is_marked(p) for p in task.support):
        return task
    return replace(task, support=[complete_picture(p, task.n_way, settings) for p in task.support])


def complete_picture(picture: Picture, n_way: int, settings: Completion | None = None) -> Picture:
    """A support whose unlabelled pixels have the label that its marks make likely.

    Args:
        picture: With a label; returned as it is where nothing is unlabelled or only likely, or nothing is marked.
        n_way: Number of classes N.
        settings: Constants of the completion.

    Returns:
        The picture with labels 0..N, 254 where the marks do not tell, and 255.
    """
    if not _is_marked(picture) or picture.label is None:
        return picture
    chance = mark_chances(picture, n_way, settings)
    if chance is None:
        return picture
    most, best = chance.max(0)
    sure = Completion().sure if settings is None else settings.sure
    found = torch.where(most >= sure, best, UNLABELLED)
    kept = (sure_label(picture) < UNLABELLED) | (picture.label == IGNORE)
    return replace(picture, label=torch.where(kept, picture.label, found), rough=None)


@torch.no_grad()
def mark_chances(picture: Picture, n_way: int, settings: Completion | None = None) -> torch.Tensor | None:
    """Chance of background and each class at every pixel, (N+1, H, W); `None` where no class is marked.

    Args:
        picture: With a label 0..N, 254, 255.
        n_way: Number of classes N.
        settings: Constants of the completion.
    """
    chosen = Completion() if settings is None else settings
    height, width = picture.rgb.shape[-2:]
    maps = standardise(picture, level_statistics([picture]))
    prior = mark_prior(picture, maps, n_way, chosen)
    if prior is None:
        return None
    stride = max(1, round(max(height, width) / NODES))
    while height % stride or width % stride:
        stride -= 1
    graph = mark_graph(picture, stride)
    label = graph.ndata["label"]
    marked = label < UNLABELLED
    rows, columns = height // stride, width // stride
    prior = resample(prior, rows, columns).flatten(1).T  # (V, N+1)
    prior = torch.where(marked[:, None], F.one_hot(label.clamp_max(n_way), n_way + 1).to(prior), prior)
    src, dst = graph.edges()
    weight = edge_weights(graph, maps, height, (rows, columns), chosen)
    mean_degree = weight.sum() / len(label)
    y = spread_labels(src, dst, weight, prior / prior.sum(1, keepdim=True), marked, chosen.restart * mean_degree)
    full = resample(y.T.unflatten(1, (rows, columns)), height, width)
    return full / full.sum(0)


def mark_prior(picture: Picture, maps: list[torch.Tensor], n_way: int, settings: Completion) -> torch.Tensor | None:
    """The prior of step 1 on a grid of cells: (N+1, h, w); `None` where no class is marked.

    Args:
        picture: With a label.
        maps: Its standardised maps, finest level first.
        n_way: Number of classes N.
        settings: Constants.
    """
    assert picture.label is not None
    height, width = picture.rgb.shape[-2:]
    h, w = min(height, CELLS), min(width, CELLS)
    weight, _ = label_shares(sure_label(picture)[None], n_way, h, w)  # (P, N+1)
    if picture.rough is not None:
        likely, _ = label_shares(picture.label.masked_fill(~picture.rough, UNLABELLED)[None], n_way, h, w)
        weight = weight + settings.box * likely * (weight.sum(1, keepdim=True) <= 0)
    if not weight[:, 1:].any():
        return None
    even = picture.rough is not None or not weight[:, 0].any()  # the background is marked everywhere, or nowhere
    balance, caution = (1.0, 0.0) if even else (settings.balance, settings.caution)
    if not weight[:, 0].any():
        weight[:, 0] = 1.0
    deep = [m for m in maps if height >= FINEST * m.shape[-2]] or maps[-1:]
    unit = torch.cat([unit_rows(resample(m, h, w).flatten(1).T) for m in deep], 1)  # (P, C)
    rgb = resample(picture.rgb, h, w).flatten(1).T
    place = _centres(h, w).to(rgb)
    density = []
    for n in range(n_way + 1):
        at = weight[:, n].nonzero()[:, 0]
        if not len(at):
            density.append(unit.new_full((h * w,), -math.inf))
            continue
        kernel = settings.sharpness / len(deep) * (unit @ unit[at].T)
        kernel -= settings.color / 3 * torch.cdist(rgb, rgb[at], p=1)
        kernel -= torch.cdist(place, place[at]).square() / (2 * settings.reach**2)
        a = weight[at, n]
        found = torch.logsumexp(kernel + a.log(), 1) - balance * a.sum().log()
        density.append(found if n else found + caution)
    return torch.stack(density).softmax(0).unflatten(1, (h, w))


def edge_weights(
    graph: Graph, maps: list[torch.Tensor], height: int, grid: tuple[int, int], settings: Completion
) -> torch.Tensor:
    """Weights (E,) of the lattice edges of step 2.

    Args:
        graph: What `mark_graph` gave, with 8 neighbours a node.
        maps: The picture's standardised maps.
        height: Of the picture, in pixels.
        grid: Rows and columns of its nodes.
        settings: Constants.
    """
    low, high = EDGE_LEVELS
    fine = [m for m in maps if low <= height / m.shape[-2] <= high] or maps[:1]
    unit = torch.cat([F.normalize(resample(m, *grid), dim=0) for m in fine]).permute(1, 2, 0)  # (h, w, C)
    parts = []
    for one, other, (down, across) in shifted_pairs(unit, (1,), 8):  # in the order of the graph's edges
        cosine = (one * other).sum(2).flatten() / len(fine)
        weight = torch.exp(settings.edge_feature * (cosine - 1)) / math.hypot(down, across)
        parts += [weight, weight]
    return torch.cat(parts) * torch.exp(-settings.edge_color * graph.edata["feature"][:, 0]) + 1e-6


def _is_marked(picture: Picture) -> bool:
    return picture.label is not None and (picture.rough is not None or bool((picture.label == UNLABELLED).any()))


def _centres(rows: int, columns: int) -> torch.Tensor:
    """Centres of the cells in sides of the picture, (cells, 2)."""
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)
