"""The trivial answers that every table shows: a model is worth its cost only above these.

All of them are `Predictor`s without learnt state; they read the frozen features of the pictures and the labels of the
supports, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from pixgraph.data.picture import FewShotTask
from pixgraph.evaluation.cells import (
    CellFeatures,
    RememberedCells,
    SupportCells,
    cell_features,
    support_cells,
    to_pixels,
)
from pixgraph.evaluation.logistic import fit_softmax
from pixgraph.models.completion import MarkCompleter
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


class CellMethod:
    """What the methods below share: learn something from the supports' cells, then score the queries' cells with it.

    Args:
        stride: Side of a cell in pixels of the working size.
        limit: Most support cells that are used; foreground is kept before background. `None`: all.
        features_of: Gives the cells' features; a `RememberedCells` shares them between methods.
    """

    def __init__(self, stride: int, limit: int | None, features_of: CellFeatures) -> None:
        self.stride = stride
        self.limit = limit
        self.features_of = features_of
        self._complete = MarkCompleter()

    def learn(self, cells: SupportCells) -> Callable[[torch.Tensor], torch.Tensor]:
        """A function from features (h, w, C) of unit length to probabilities (h, w, N+1).

        Args:
            cells: At least one cell.
        """
        raise NotImplementedError

    @torch.no_grad()
    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        """See `Predictor.predict`; without any known support pixel everything is background."""
        task = self._complete(task)
        cells = support_cells(task, self.stride, self.limit, self.features_of)
        if not len(cells.features):
            return AllBackground().predict(task)
        score = self.learn(cells)
        return [to_pixels(score(self.features_of(query, self.stride)), query.rgb.shape[-2:]) for query in task.query]


class NearestPrototype(CellMethod):
    """Masked average pooling and cosine (PANet, Wang et al. 2019, without training).

    Prototype of a class = mean feature of the support cells, weighted by the share of the cell that the class covers;
    background has one too. A query cell's probabilities are softmax(cosine / temperature) over the prototypes; a class
    (or background) without any support pixel gets probability 0.

    Args:
        temperature: Softmax temperature; 0.05 is PANet's factor of 20.
        stride: See `CellMethod`.
        features_of: See `CellMethod`.
    """

    name = "prototype"

    def __init__(self, temperature: float = 0.05, stride: int = 8, features_of: CellFeatures = cell_features) -> None:
        super().__init__(stride, None, features_of)
        self.temperature = temperature

    def learn(self, cells: SupportCells) -> Callable[[torch.Tensor], torch.Tensor]:
        """See `CellMethod.learn`."""
        weight = (cells.shares * cells.area[:, None]).T.contiguous()  # (N+1, S)
        prototypes = torch.nn.functional.normalize(weight @ cells.features, dim=1)  # (N+1, C)
        absent = weight.sum(1) == 0

        def score(features: torch.Tensor) -> torch.Tensor:
            """Probabilities (h, w, N+1) from the cosines with the prototypes."""
            cosine = _products(features, prototypes)  # (h, w, N+1)
            return (cosine / self.temperature).masked_fill(absent, -torch.inf).softmax(-1)

        return score


class KnnPropagation(CellMethod):
    """Label propagation from the nearest support cells, training free.

    A query cell takes the mean label of its k most similar support cells, weighted by exp(cosine / temperature).

    Args:
        k: Neighbours.
        temperature: Temperature of the weights.
        stride: See `CellMethod`.
        limit: See `CellMethod`.
        features_of: See `CellMethod`.
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
        super().__init__(stride, limit, features_of)
        self.k = k
        self.temperature = temperature

    def learn(self, cells: SupportCells) -> Callable[[torch.Tensor], torch.Tensor]:
        """See `CellMethod.learn`."""

        def score(features: torch.Tensor) -> torch.Tensor:
            """Votes (h, w, N+1) of the nearest support cells."""
            cosine = features.flatten(0, 1) @ cells.features.T  # (h*w, S)
            top, nearest = cosine.topk(min(self.k, cosine.shape[1]), dim=1)  # (h*w, k)
            weight = (top / self.temperature).softmax(dim=1)
            votes = torch.einsum("pk,pkn->pn", weight, cells.shares[nearest])  # (h*w, N+1)
            return votes.view(*features.shape[:2], -1)

        return score


class LinearClassifier(CellMethod):
    """A 1x1 convolution on the frozen CNN, fitted on the supports of each episode ("CNN + classifier").

    Multinomial logistic regression with L2 penalty from standardised cell features to label shares; classes count
    equally, whatever their area. Fitted by L-BFGS from zero, so there is no randomness.

    Args:
        penalty: Weight of the squared norm of the coefficients.
        steps: Iterations of L-BFGS.
        stride: See `CellMethod`.
        limit: See `CellMethod`.
        features_of: See `CellMethod`.
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
        super().__init__(stride, limit, features_of)
        self.penalty = penalty
        self.steps = steps

    def learn(self, cells: SupportCells) -> Callable[[torch.Tensor], torch.Tensor]:
        """See `CellMethod.learn`."""
        mean = cells.features.mean(0)
        scale = 1 / cells.features.std(0, correction=0).clamp_min(1e-6)
        mass = cells.shares * cells.area[:, None]  # (S, N+1)
        target = mass / mass.sum(0).clamp_min(1e-12) / max(1, int((mass.sum(0) > 0).sum()))
        weight, bias = fit_softmax((cells.features - mean) * scale, target, self.penalty, self.steps)
        return lambda features: (_products((features - mean) * scale, weight) + bias).softmax(-1)


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
