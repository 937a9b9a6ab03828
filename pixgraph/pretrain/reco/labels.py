"""Which pictures are labelled, what is kept of their labels, and the batches that follow from it."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np

from pixgraph.data.base import UNLABELLED
from pixgraph.data.budget import LabelChoice, choose_labelled, require_classes
from pixgraph.data.partial import partial_label
from pixgraph.data.semantic import SemanticSplit
from pixgraph.pretrain.labelled_source import LabelledSource, RecoSource
from pixgraph.pretrain.reco.config import BudgetConfig, RecoConfig

_LABELLED, _OTHERS = 0, 1
"""Streams of random choices."""


class Annotation:
    """What is known of a label: all or a part of it, for the chosen pictures; nothing for others.

    Args:
        keys: The chosen pictures.
        ratio: Part of each class that is kept; none: everything.
        seed: Of the parts.
    """

    def __init__(self, keys: list[str], ratio: str | None, seed: int) -> None:
        self.keys, self.ratio, self.seed = frozenset(keys), ratio, seed

    def __call__(self, label: np.ndarray, key: str) -> np.ndarray:
        """What is known of the label (H, W) uint8 of a picture."""
        if key not in self.keys:
            return np.full_like(label, UNLABELLED)
        return label if self.ratio is None else partial_label(label, self.ratio, self.seed, key)


class Labels(NamedTuple):
    """The labels that a training may use.

    Attributes:
        choice: The pictures.
        annotation: What is kept of their labels.
        others: Pictures that the teacher labels.
    """

    choice: LabelChoice
    annotation: Annotation
    others: list[str]


def choose(split: SemanticSplit, config: BudgetConfig, seed: int) -> Labels:
    """The budget's choice of labels.

    The teacher labels the pictures without labels, or what is not annotated of all pictures where labels are partial or
    every picture has one.

    Raises:
        ConfigError: The budget is larger than the data, or leaves a class without a label.
        DataError: No picture is labelled, or none shows some class.
    """
    seed = seed if config.seed is None else config.seed
    choice = choose_labelled(
        split,
        num_labeled=config.num_labeled,
        fraction=config.fraction,
        seed=seed,
        min_classes=config.min_classes,
        option="labels.num_labeled",
    )
    require_classes(split)
    rest = [key for key in split.keys if key not in set(choice.keys)]
    others = rest if rest and config.ratio is None else list(split.keys)
    return Labels(choice, Annotation(list(choice.keys), config.ratio, seed), others)


def make_source(split: SemanticSplit, labels: Labels, config: RecoConfig) -> LabelledSource | RecoSource:
    """The batches of a training: labelled pictures alone, or as many others with them.

    The teacher sees pictures at their own scale, as in the authors' code; scaling comes with the strong views.
    """
    memory: dict[str, Any] = {"cache_bytes": config.cache_mb * 2**20}
    keys = list(labels.choice.keys)
    known = LabelledSource(
        split, keys, config.views, config.seed, annotate=labels.annotation, stream=_LABELLED, **memory
    )
    if config.mixing == "none":
        return known
    weak = dataclasses.replace(config.views, scale=[1.0, 1.0])
    others = LabelledSource(
        split,
        labels.others,
        weak,
        config.seed,
        augment=False,
        annotate=labels.annotation,
        hidden=not set(labels.others) & labels.annotation.keys,
        stream=_OTHERS,
        **memory,
    )
    return RecoSource(known, others)


def digest(split: SemanticSplit, labels: Labels) -> str:
    """16 hex digits over the pictures' names and the labels that are used."""
    text = "\n".join([*split.keys, labels.choice.hash, str(labels.annotation.ratio), str(labels.annotation.seed)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
