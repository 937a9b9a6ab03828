"""The linear probe over its seeds, with what it takes to read its number."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pixgraph.data.base import FewShotDataset
from pixgraph.errors import ConfigError, DataError
from pixgraph.probe.config import ProbeConfig
from pixgraph.probe.confusion import Confusion
from pixgraph.probe.halves import train_and_scored
from pixgraph.probe.linear import class_ids, draw_pixels, fit_linear, score_linear

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore

_MOST_CLASSES = 254


def linear_probe(config: ProbeConfig, store: FeatureStore, levels: Sequence[int]) -> dict[str, Any]:
    """Fit on the training split and score on `config.split`, or on halves of it, once for each seed.

    Args:
        config: Data and settings of the probe.
        store: The embedding.
        levels: Which maps.

    Returns:
        JSON values: mean and deviation over the seeds, IoU of each class, the confusion matrix summed over the seeds,
        and what the commonest training class gives when it is predicted everywhere.

    Raises:
        ConfigError: The data set has too many classes.
        DataError: There are no masks.
    """
    start = time.perf_counter()
    train, scored = train_and_scored(config.data, config.split)
    if max(train.class_names, default=0) > _MOST_CLASSES:
        raise ConfigError(f"data: {train.name} has more than {_MOST_CLASSES} classes, which no mask here can hold")
    for dataset in (train, scored):
        store.warm(dataset, progress=sys.stderr.isatty())
    matrices = []
    for seed in range(config.seed, config.seed + config.linear.seeds):
        sample = draw_pixels(train, store, levels, config.linear.pixels, seed)
        ids = class_ids(train, sample.counts)
        probe = fit_linear(sample, ids, levels, config.linear)
        matrices.append(score_linear(probe, scored, store))
    if not matrices[0].counts.sum():
        raise DataError(f"{scored.name} ({scored.split}): no labelled pixel to score; take another split")
    total = Confusion(ids)
    total.counts = sum((m.counts for m in matrices[1:]), matrices[0].counts)
    names = [train.class_names.get(c, "background") for c in ids]
    return {
        "data": train.name,
        "split": scored.split,
        "train_split": train.split,
        "train_pictures": len(sample.counts),
        "scored_pictures": _labelled(scored),
        "pixels": len(sample.labels),
        "weighting": config.linear.weighting,
        "penalty": config.linear.penalty,
        "steps": config.linear.steps,
        "seeds": config.linear.seeds,
        **_over_seeds(matrices, names),
        "confusion": total.counts.tolist(),
        "trivial": _commonest(sample.counts[:, ids].sum(0), matrices[0]).to_dict(names),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _over_seeds(matrices: Sequence[Confusion], names: Sequence[str]) -> dict[str, Any]:
    found = [m.to_dict(names) for m in matrices]
    mious = [f["miou"] for f in found]
    iou = np.array([m.iou() for m in matrices])
    return {
        "miou": statistics.fmean(mious),
        "miou_sd": statistics.stdev(mious) if len(mious) > 1 else None,
        "per_seed": mious,
        "pixel_accuracy": statistics.fmean(f["pixel_accuracy"] for f in found),
        "class_accuracy": statistics.fmean(f["class_accuracy"] for f in found),
        "classes": list(names),
        # Whether a class occurs may depend on what is predicted, and so on the seed.
        "iou": [None if math.isnan(v) else v for v in (_mean(column) for column in iou.T)],
    }


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _commonest(pixels: np.ndarray, scored: Confusion) -> Confusion:
    """The matrix of predicting the commonest training class everywhere."""
    trivial = Confusion(scored.ids)
    trivial.counts[:, int(pixels.argmax())] = scored.counts.sum(1)
    return trivial


def _labelled(dataset: FewShotDataset) -> int:
    return sum(dataset.has_mask(i) for i in range(len(dataset)))
