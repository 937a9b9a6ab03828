"""The confusion matrix of a dense classification, as integers, and the scores that follow from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pixgraph.data.base import IGNORE
from pixgraph.evaluation.metrics import ratios


class Confusion:
    """Counts of (truth, prediction) over all pixels of all pictures.

    IoU of class c = hits / (hits + misses + false alarms), each accumulated over the whole data set; mIoU is the mean
    over the classes that are in truth or prediction anywhere.

    Args:
        ids: Class ids of the rows and columns, in their order.

    Attributes:
        counts: (M, M) int64: row truth, column prediction.

    Example:
        >>> confusion = Confusion([1, 2])
        >>> confusion.add(np.array([1, 2, 2]), np.array([1, 1, 255]))
        >>> confusion.counts.tolist(), confusion.miou()
        ([[1, 1], [0, 0]], 0.25)
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = list(ids)
        self._row = np.full(256, -1, np.int64)
        self._row[self.ids] = np.arange(len(self.ids))
        self.counts = np.zeros((len(self.ids), len(self.ids)), np.int64)

    def __repr__(self) -> str:
        return f"Confusion(classes={len(self.ids)}, pixels={int(self.counts.sum())}, miou={self.miou():.4f})"

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add a picture.

        Args:
            prediction: (H, W) class ids.
            truth: (H, W) class ids; pixels of 255 do not count.

        Raises:
            ValueError: The shapes differ, or an id is not among `ids`.
        """
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction has shape {prediction.shape} but truth {truth.shape}: resize one of them")
        known = truth != IGNORE
        rows, columns = self._row[truth[known]], self._row[prediction[known]]
        if min(rows.min(initial=0), columns.min(initial=0)) < 0:
            found = sorted({*np.unique(truth[known]).tolist(), *np.unique(prediction[known]).tolist()} - {*self.ids})
            raise ValueError(f"labels {found} are not among the classes {self.ids}")
        size = len(self.ids)
        self.counts += np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)

    def iou(self) -> np.ndarray:
        """IoU of each class, (M,) float64; nan for one that is neither in truth nor in prediction."""
        hits = np.diagonal(self.counts)
        return ratios(hits, self.counts.sum(0) + self.counts.sum(1) - hits)

    def miou(self) -> float:
        """Mean of the defined IoUs, in 0..1; nan if there is none."""
        found = self.iou()
        return float(np.nanmean(found)) if (~np.isnan(found)).any() else math.nan

    def accuracy(self) -> float:
        """Share of the pixels that are right; nan without pixels."""
        return float(ratios(np.trace(self.counts), self.counts.sum()))

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Everything as JSON values: scores in 0..1, undefined ones null, counts as integers.

        Args:
            names: Name of each class.
        """
        shares = ratios(np.diagonal(self.counts), self.counts.sum(1))
        return {
            "miou": _number(self.miou()),
            "pixel_accuracy": _number(self.accuracy()),
            "class_accuracy": _number(float(np.nanmean(shares)) if (~np.isnan(shares)).any() else math.nan),
            "classes": list(names),
            "iou": [_number(v) for v in self.iou().tolist()],
            "confusion": self.counts.tolist(),
        }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
