"""Scores of a finished run on any split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pixgraph.config_check import build
from pixgraph.data.semantic import open_semantic
from pixgraph.pretrain.reco.config import RecoConfig
from pixgraph.pretrain.reco.run import make_method
from pixgraph.pretrain.validation import Validation
from pixgraph.training.checkpoint import load_checkpoint, load_weights
from pixgraph.training.device import resolve_device
from pixgraph.training.distributed import World
from pixgraph.training.records import plain, read_config


def score_run(run: str | Path, split: str = "test", data: str | None = None, device: str = "auto") -> dict[str, Any]:
    """The teacher's scores after the last step that a run has saved.

    Args:
        run: Its folder.
        split: What to score on; all its pictures.
        data: Where the data set is now, as NAME:FOLDER; none: where it was.
        device: Where to compute.

    Returns:
        JSON values: ``miou``, ``iou`` of each class, ``pixel_accuracy``, ``confusion``, ``step`` and so on.

    Raises:
        RunError: There is no such run.
        CheckpointError: Its checkpoint is broken.
        DataError: The data set is not there.
    """
    config = build(RecoConfig, read_config(run))
    config.weights = "random"  # the checkpoint has them all
    opened = open_semantic(data or config.data, split)
    path = Path(run) / "checkpoints" / "last.pt"
    state = load_checkpoint(path)
    method = make_method(config, opened.classes, torch.device("cpu"), World())
    load_weights(method, state["method"], path)
    validation = Validation(opened, config.views.short_side)
    validation(method.network.to(resolve_device(device)))
    return {**plain(validation.to_dict()), "step": state["step"]}
