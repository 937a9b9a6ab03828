"""Intersection over union of few-shot episodes, accumulated as integers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pixgraph.data.base import IGNORE


class EpisodeCounts(NamedTuple):
    """Pixels of one query: per way, and for the picture as a whole.

    Attributes:
        intersection: (N,) int64, pixels that are way n+1 in both prediction and truth.
        union: (N,) int64, pixels that are way n+1 in either.
        binary: (2, 2) int64: rows background, foreground (any way); columns intersection, union.
    """

    intersection: np.ndarray
    union: np.ndarray
    binary: np.ndarray

    @property
    def iou(self) -> float:
        """Mean over the ways of this query's own IoU; a way that is in neither mask is left out, nan if all are."""
        return _mean_of_defined(ratios(self.intersection, self.union))


def ratios(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Intersection over union, float64, elementwise; nan where the union is empty, for there is nothing to judge."""
    return np.divide(intersection, union, out=np.full(np.shape(union), np.nan), where=np.asarray(union) > 0)


def _mean_of_defined(values: np.ndarray) -> float:
    """Mean of the values that are not nan; nan if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def count_pixels(prediction: np.ndarray, truth: np.ndarray, n_way: int) -> EpisodeCounts:
    """Count intersections and unions of one query.

    Args:
        prediction: (H, W) integers 0..N.
        truth: (H, W) integers 0..N; pixels of 255 are in neither intersection nor union.
        n_way: Number of ways N.

    Raises:
        ValueError: The shapes differ, or a label is outside 0..N.
    """
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction has shape {prediction.shape} but truth {truth.shape}: resize the prediction to the truth"
        )
    valid = truth != IGNORE
    if prediction.size and int(prediction.max()) > n_way:
        raise ValueError(f"prediction has label {int(prediction.max())}, expected 0..{n_way} for {n_way} ways")
    intersection, union = np.zeros(n_way, np.int64), np.zeros(n_way, np.int64)
    known = 0
    for way in range(1, n_way + 1):
        predicted, true = (prediction == way) & valid, truth == way
        total = int(np.count_nonzero(true))
        intersection[way - 1] = np.count_nonzero(predicted & true)
        union[way - 1] = np.count_nonzero(predicted) + total - intersection[way - 1]
        known += total
    background, size = truth == 0, int(np.count_nonzero(valid))
    if known + int(np.count_nonzero(background)) != size:
        raise ValueError(f"truth has labels {np.unique(truth).tolist()}, expected 0..{n_way} and {IGNORE}")
    empty = (prediction == 0) & valid
    both = int(np.count_nonzero(empty & background))
    either = int(np.count_nonzero(empty | background))
    return EpisodeCounts(intersection, union, np.array([[both, either], [size - either, size - both]], np.int64))


class EpisodicIoU:
    """The field's mIoU and FB-IoU over episodes.

    IoU of class c = sum over episodes of intersections / sum over episodes of unions, foreground only; mIoU is its mean
    over the classes. This differs from the mean of the episodes' IoUs, which weighs a tiny object as much as a large
    one. A class that is never seen nor predicted has no IoU and is skipped. FB-IoU is the mean of the IoU of background
    and of "any foreground class", each accumulated over all queries; it is high for a method that predicts
    nothing, so read it beside that method's. False positives of a way that a query does not show count against its
    class.

    Counts are int64: any order, batching or merging of the same episodes gives the same bits.

    Example:
        >>> score = EpisodicIoU([7, 9])
        >>> _ = score.update(np.array([[1, 1, 0]]), np.array([[1, 0, 255]]), [7])
        >>> score.per_class()
        {7: 0.5, 9: nan}
        >>> score.miou()
        0.5
    """

    def __init__(self, classes: Sequence[int]) -> None:
        self.classes = tuple(classes)
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes {self.classes} repeat: give each class id once")
        self._row = {c: row for row, c in enumerate(self.classes)}
        self.counts = np.zeros((len(self.classes), 2), np.int64)  # (C, intersection | union)
        self.binary = np.zeros((2, 2), np.int64)  # (background | foreground, intersection | union)
        self.queries = 0

    def __repr__(self) -> str:
        return f"EpisodicIoU(classes={len(self.classes)}, queries={self.queries}, miou={self.miou():.4f})"

    def update(self, prediction: Any, truth: Any, episode_classes: Sequence[int]) -> EpisodeCounts:
        """Add one query and return its own counts.

        Args:
            prediction: (H, W) integers 0..N, array or CPU tensor.
            truth: (H, W) integers 0..N, 255 ignored.
            episode_classes: Class ids of the ways 1..N.

        Raises:
            ValueError: Shapes, labels or class ids do not fit.
        """
        unknown = [c for c in episode_classes if c not in self._row]
        if unknown:
            raise ValueError(f"classes {unknown} of the episode are not among the scored classes {self.classes}")
        counts = count_pixels(np.asarray(prediction), np.asarray(truth), len(episode_classes))
        self.add(counts, episode_classes)
        return counts

    def add(self, counts: EpisodeCounts, episode_classes: Sequence[int]) -> None:
        """Add the counts of one query whose ways 1..N are `episode_classes`."""
        for way, c in enumerate(episode_classes):
            self.counts[self._row[c]] += (counts.intersection[way], counts.union[way])
        self.binary += counts.binary
        self.queries += 1

    def per_class(self) -> dict[int, float]:
        """Class id to IoU in 0..1; nan for a class with an empty union."""
        return dict(zip(self.classes, ratios(self.counts[:, 0], self.counts[:, 1]).tolist(), strict=True))

    def miou(self) -> float:
        """Mean of the defined class IoUs, in 0..1; nan if there is none."""
        return _mean_of_defined(ratios(self.counts[:, 0], self.counts[:, 1]))

    def fb_iou(self) -> float:
        """Mean of the accumulated IoU of foreground and background, in 0..1; nan if there is neither."""
        return _mean_of_defined(ratios(self.binary[:, 0], self.binary[:, 1]))

    def merge(self, other: EpisodicIoU) -> EpisodicIoU:
        """A new score over the queries of both; associative and commutative.

        Raises:
            ValueError: The two score different classes.
        """
        if self.classes != other.classes:
            raise ValueError(f"cannot merge scores over classes {self.classes} and {other.classes}")
        merged = EpisodicIoU(self.classes)
        merged.counts = self.counts + other.counts
        merged.binary = self.binary + other.binary
        merged.queries = self.queries + other.queries
        return merged

    def state(self) -> dict[str, Any]:
        """The counts as plain lists and integers, for JSON and checkpoints."""
        return {
            "classes": list(self.classes),
            "counts": self.counts.tolist(),
            "binary": self.binary.tolist(),
            "queries": self.queries,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> EpisodicIoU:
        """The score that `state()` describes."""
        score = cls(state["classes"])
        score.counts = np.array(state["counts"], np.int64).reshape(len(score.classes), 2)
        score.binary = np.array(state["binary"], np.int64).reshape(2, 2)
        score.queries = int(state["queries"])
        return score
