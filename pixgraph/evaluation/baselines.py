"""The trivial answers that every table shows: a model is worth its cost only above these.

All of them are `Predictor`s without learnt state; they read the frozen features of the pictures and the labels of the
supports, nothing else.
"""

from __future__ import annotations

import torch

from pixgraph.data.picture import FewShotTask
from pixgraph.evaluation.cells import CellFeatures, RememberedCells, cell_features, support_cells, to_pixels
from pixgraph.evaluation.logistic import fit_softmax
from pixgraph.models.predictor import Predictor


class AllBackground:
    """Predicts background everywhere: mIoU 0 by definition, and the FB-IoU that comes for free."""

    name = "all-background"

    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        """Probability one for background in every pixel; see `Predictor.predict`."""
        answers = []
        for query in task.query:
            answer = query.rgb.new_zeros((task.n_way + 1, *query.rgb.shape[-2:]))
            answer[0] = 1
            answers.append(answer)
        return answers


class NearestPrototype:
    """Masked average pooling and cosine (PANet, Wang et al. 2019, without training).

    Prototype of a class = mean feature of the support cells, weighted by the share of the cell that the class covers;
    background has one too. A query cell's probabilities are softmax(cosine / temperature) over the prototypes.

    Args:
        temperature: Softmax temperature; 0.05 is PANet's factor of 20.
        stride: Side of a cell in pixels of the working size.
        features_of: Gives the cells' features; a `RememberedCells` shares them between methods.
    """

    name = "prototype"

    def __init__(self, temperature: float = 0.05, stride: int = 8, features_of: CellFeatures = cell_features) -> None:
        self.temperature = temperature
        self.stride = stride
        self.features_of = features_of

    @torch.no_grad()
    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        """See `Predictor.predict`; a class (or background) without any support pixel gets probability 0."""
        cells = support_cells(task, self.stride, None, self.features_of)
        weight = (cells.shares * cells.area[:, None]).T.contiguous()  # (N+1, S)
        prototypes = torch.nn.functional.normalize(weight @ cells.features, dim=1)  # (N+1, C)
        absent = weight.sum(1) == 0
        absent[0] &= not bool(absent.all())
        answers = []
        for query in task.query:
            cosine = _products(self.features_of(query, self.stride), prototypes)  # (h, w, N+1)
            scores = (cosine / self.temperature).masked_fill(absent, -torch.inf)
            answers.append(to_pixels(scores.softmax(-1), query.rgb.shape[-2:]))
        return answers


class KnnPropagation:
    """Label propagation from the nearest support cells, training free.

    A query cell takes the mean label of its k most similar support cells, weighted by exp(cosine / temperature).

    Args:
        k: Neighbours.
        temperature: Temperature of the weights.
        stride: Side of a cell in pixels of the working size.
        limit: Most support cells that are searched; foreground is kept before background.
        features_of: Gives the cells' features; a `RememberedCells` shares them between methods.
    """

    name = "knn"

    def __init__(
        self,
        k: int = 16,
        temperature: float = 0.05,
        stride: int = 8,
        limit: int = 1024,
        features_of: CellFeatures = cell_features,
    ) -> None:
        self.k = k
        self.temperature = temperature
        self.stride = stride
        self.features_of = features_of
        self.limit = limit

    @torch.no_grad()
    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        """See `Predictor.predict`; without any known support pixel everything is background."""
        cells = support_cells(task, self.stride, self.limit, self.features_of)
        if not len(cells.features):
            return AllBackground().predict(task)
        answers = []
        for query in task.query:
            features = self.features_of(query, self.stride)
            cosine = features.flatten(0, 1) @ cells.features.T  # (h*w, S)
            top, nearest = cosine.topk(min(self.k, cosine.shape[1]), dim=1)  # (h*w, k)
            weight = (top / self.temperature).softmax(dim=1)
            votes = torch.einsum("pk,pkn->pn", weight, cells.shares[nearest])  # (h*w, N+1)
            grid = votes.view(*features.shape[:2], -1)
            answers.append(to_pixels(grid, query.rgb.shape[-2:]))
        return answers


class LinearClassifier:
    """A 1x1 convolution on the frozen CNN, fitted on the supports of each episode ("CNN + classifier").

    Multinomial logistic regression with L2 penalty from standardised cell features to label shares; classes count
    equally, whatever their area. Fitted by L-BFGS from zero, so there is no randomness.

    Args:
        penalty: Weight of the squared norm of the coefficients.
        steps: Iterations of L-BFGS.
        stride: Side of a cell in pixels of the working size.
        limit: Most support cells that are fitted; foreground is kept before background.
        features_of: Gives the cells' features; a `RememberedCells` shares them between methods.
    """

    name = "linear"

    def __init__(
        self,
        penalty: float = 0.05,
        steps: int = 20,
        stride: int = 8,
        limit: int = 2048,
        features_of: CellFeatures = cell_features,
    ) -> None:
        self.penalty = penalty
        self.steps = steps
        self.stride = stride
        self.features_of = features_of
        self.limit = limit

    @torch.no_grad()
    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        """See `Predictor.predict`; without any known support pixel everything is background."""
        cells = support_cells(task, self.stride, self.limit, self.features_of)
        if not len(cells.features):
            return AllBackground().predict(task)
        mean = cells.features.mean(0)
        scale = 1 / cells.features.std(0, correction=0).clamp_min(1e-6)
        mass = cells.shares * cells.area[:, None]  # (S, N+1)
        target = mass / mass.sum(0).clamp_min(1e-12) / max(1, int((mass.sum(0) > 0).sum()))
        weight, bias = fit_softmax((cells.features - mean) * scale, target, self.penalty, self.steps)
        answers = []
        for query in task.query:
            features = self.features_of(query, self.stride)
            logits = _products((features - mean) * scale, weight) + bias  # (h, w, N+1)
            answers.append(to_pixels(logits.softmax(-1), query.rgb.shape[-2:]))
        return answers


def _products(features: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Inner products (h, w, M) of cells (h, w, C) with a few rows (M, C); in the order that BLAS is fast at."""
    return (rows @ features.flatten(0, 1).T).T.reshape(*features.shape[:2], -1)


def trivial_baselines() -> dict[str, Predictor]:
    """All baselines of this file by name, in the order in which tables show them.

    They share the cells' features, so that their time counts for the first of them that sees a task, the prototype.
    """
    shared = RememberedCells()
    methods: tuple[Predictor, ...] = (
        AllBackground(),
        NearestPrototype(features_of=shared),
        KnnPropagation(features_of=shared),
        LinearClassifier(features_of=shared),
    )
    return {method.name: method for method in methods}
