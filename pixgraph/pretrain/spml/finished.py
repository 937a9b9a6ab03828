"""A finished run of SPML: its network and classifier, and its scores on any split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pixgraph.config_check import build
from pixgraph.data.semantic import SemanticSplit, open_semantic
from pixgraph.pretrain.reco.validation import Validation
from pixgraph.pretrain.spml.config import SPMLConfig
from pixgraph.pretrain.spml.method import SPML
from pixgraph.pretrain.spml.run import make_method, make_retrieval
from pixgraph.pretrain.spml.scoring import score_classes
from pixgraph.pretrain.spml.weak_labels import PSEUDO, PseudoLabels, WeakLabels
from pixgraph.training.checkpoint import load_checkpoint, load_weights
from pixgraph.training.device import resolve_device
from pixgraph.training.distributed import World
from pixgraph.training.records import plain, read_config


def load_spml(run: str | Path, split: SemanticSplit, device: torch.device) -> tuple[SPML, SPMLConfig, int]:
    """The method after the last step that a run has saved, in evaluation mode, with its configuration and step.

    Args:
        run: Its folder.
        split: Pictures with the classes that it was trained on.
        device: Where to put it.

    Raises:
        RunError: There is no such run.
        CheckpointError: Its checkpoint is broken, or was trained on other classes.
    """
    config = build(SPMLConfig, read_config(Path(run)))
    config.weights = "random"  # the checkpoint has them all
    path = Path(run) / "checkpoints" / "last.pt"
    state = load_checkpoint(path)
    method = make_method(config, split, torch.device("cpu"), World())
    load_weights(method, state["method"], path)
    return method.to(device).eval(), config, state["step"]


def score_run(
    run: str | Path, split: str = "test", data: str | None = None, device: str = "auto", retrieval: bool = True
) -> dict[str, Any]:
    """Scores of a run's classifier on all pictures of a split, and of segment retrieval with its training pictures.

    Args:
        run: Its folder.
        split: What to score on.
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
    place = data or config.data
    opened = open_semantic(place, split)
    method, config, step = load_spml(run, opened, where)
    validation = Validation(opened, config.views.short_side)
    validation(method.labeller())
    found = {**plain(validation.to_dict()), "step": step}
    if retrieval:
        train = open_semantic(place, config.train_split)
        labels = WeakLabels(train, config.annotation, config.marks)
        labels.pseudo = PseudoLabels(Path(run) / PSEUDO, train) if config.annotation == "tags" else None
        asked = make_retrieval(method, config, labels, where)
        confusion = score_classes(asked.classify, opened, validation.indices, config.views.short_side, where)
        found["retrieval"] = plain(confusion.to_dict(opened.names))
    return found
