"""A finished run of SPML: its network and classifier, and its scores on any split."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from pixgraph.config_check import build
from pixgraph.data.semantic import SemanticSplit
from pixgraph.pretrain.spml.config import SPMLConfig
from pixgraph.pretrain.spml.final_classifier import load_classifier
from pixgraph.pretrain.spml.method import SPML
from pixgraph.pretrain.spml.run import chosen_splits, make_method, make_retrieval
from pixgraph.pretrain.spml.scoring import score_classes
from pixgraph.pretrain.spml.weak_labels import PSEUDO, PseudoLabels, WeakLabels
from pixgraph.pretrain.validation import Validation
from pixgraph.training.checkpoint import load_checkpoint, load_weights
from pixgraph.training.device import resolve_device
from pixgraph.training.distributed import World
from pixgraph.training.records import plain, read_config


def load_spml(run: str | Path, config: SPMLConfig, split: SemanticSplit, device: torch.device) -> tuple[SPML, int]:
    """The method after the last step that a run has saved, in evaluation mode, and the step.

    Args:
        run: Its folder.
        config: Its configuration.
        split: Pictures with the classes that it was trained on.
        device: Where to put it.

    Raises:
        CheckpointError: The checkpoint is missing or broken, or was trained on other classes.
    """
    path = Path(run) / "checkpoints" / "last.pt"
    state = load_checkpoint(path)
    started = dataclasses.replace(config, weights="random")  # the checkpoint has them all
    method = make_method(started, split, torch.device("cpu"), World())
    load_weights(method, state["method"], path)
    load_classifier(Path(run), method.classifier)
    return method.to(device).eval(), state["step"]


def score_run(
    run: str | Path, split: str | None = "test", data: str | None = None, device: str = "auto", retrieval: bool = True
) -> dict[str, Any]:
    """Scores of a run's classifier on all pictures of a split, and of segment retrieval with its training pictures.

    Args:
        run: Its folder.
        split: What to score on; none: its validation split. A run with `holdout` is scored on the pictures held out.
        data: Where the data set is now, as NAME:FOLDER; none: where it was.
        device: Where to compute.
        retrieval: Also score retrieval; it cuts all training pictures into segments first.

    Returns:
        JSON values: ``miou``, ``iou`` of each class, ``pixel_accuracy``, ``step`` and so on of the classifier;
        ``retrieval``: the same scores of retrieval.

    Raises:
        RunError: There is no such run.
        CheckpointError: Its checkpoint is broken.
        DataError: The data set is not there.
    """
    where = resolve_device(device)
    config = build(SPMLConfig, read_config(Path(run)))
    config.data, config.val_split = data or config.data, split or config.val_split
    train, scored = chosen_splits(config)
    method, step = load_spml(run, config, train, where)
    validation = Validation(scored, config.views.short_side)
    validation(method.labeller())
    found = {**plain(validation.to_dict()), "step": step}
    if retrieval:
        labels = WeakLabels(train, config.annotation, config.marks)
        labels.pseudo = PseudoLabels(Path(run) / PSEUDO, train) if config.annotation == "tags" else None
        asked = make_retrieval(method, labels, config.views.short_side)
        confusion = score_classes(asked.classify, scored, validation.indices, config.views.short_side, where)
        found["retrieval"] = plain(confusion.to_dict(scored.names))
    return found
