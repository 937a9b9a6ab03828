"""The last step of SPML: the pixel classifier, trained anew on the finished embedding, with labels by retrieval.

While the embedding is trained, the classifier runs after it and sees few labelled pixels. In the end SPML gives every
pixel of the training pictures a label (its own where it is marked, otherwise that of the training segments nearest to
its own) and trains the classifier on the embedding that no longer moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import nn

from pixgraph.data.base import UNLABELLED
from pixgraph.pretrain.spml.cells import labels_on_cells
from pixgraph.pretrain.spml.classifier import PixelClassifier, labelled_cross_entropy
from pixgraph.pretrain.spml.retrieval import SegmentRetrieval, cut_picture
from pixgraph.pretrain.spml.scoring import as_picture
from pixgraph.pretrain.spml.weak_labels import WeakLabels
from pixgraph.training.atomic import write_atomic
from pixgraph.training.checkpoint import load_weights
from pixgraph.training.randomness import torch_seed

FINAL = "classifier.safetensors"
"""File of a run."""
BATCH = 8
RATE = 2e-3
"""Learning rate at the start; it falls to zero as (1 - share of steps done)^.9."""
_DRAW = 0xF1A1


class Embedded(NamedTuple):
    """A training picture, embedded.

    Attributes:
        unit: (D, h, w) unit vectors.
        label: (h, w) int64: a class, or 255.
    """

    unit: torch.Tensor
    label: torch.Tensor


@torch.no_grad()
def embed_pictures(retrieval: SegmentRetrieval, labels: WeakLabels, short_side: int) -> list[Embedded]:
    """The training pictures with a label in every cell: that of the marks, otherwise retrieval's.

    Args:
        retrieval: With a bank of these pictures.
        labels: The pictures and what is known of them.
        short_side: Pictures are shrunk to it first; 0: they stay as they are.

    Raises:
        DataError: A file is missing or broken.
    """
    found = []
    for index in labels.indices:
        (unit,) = retrieval.embed(as_picture(labels.split.read_image(index), short_side).to(retrieval.device))
        cut = cut_picture(unit, retrieval.grid)
        known = torch.from_numpy(labels.known(index).astype(np.int64))[None]
        own = labels_on_cells(known, (unit.shape[1], unit.shape[2]), retrieval.classes)[0].to(unit.device)
        found.append(Embedded(unit, torch.where(own == UNLABELLED, retrieval.answer(cut).label[cut.where], own)))
    return found


def fit_classifier(
    pictures: Sequence[Embedded], hidden: int, classes: int, dropout: float, steps: int, seed: int
) -> PixelClassifier:
    """A new classifier of fixed embeddings, in evaluation mode.

    Args:
        pictures: The training pictures.
        hidden: Channels inside.
        classes: Number of classes C.
        dropout: Inside, while it is trained.
        steps: AdamW steps with crops of `BATCH` pictures, which are mirrored at random.
        seed: Of weights, crops and dropout.
    """
    device = pictures[0].unit.device
    with torch_seed(seed, device):
        classifier = PixelClassifier(pictures[0].unit.shape[0], hidden, classes, dropout).to(device).train()
        optimizer = torch.optim.AdamW(classifier.parameters(), lr=RATE)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps) ** 0.9
            unit, label = _crops(pictures, np.random.default_rng([seed, _DRAW, step]))
            optimizer.zero_grad(set_to_none=True)
            labelled_cross_entropy(classifier(unit), label).backward()
            optimizer.step()
    return classifier.eval()


def save_classifier(run_folder: Path, classifier: nn.Module) -> None:
    """Write the weights into a run's folder, whole or not at all.

    Raises:
        OSError: The disk is full.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in classifier.state_dict().items()}
    write_atomic(run_folder / FINAL, save(tensors))


def load_classifier(run_folder: Path, classifier: nn.Module) -> None:
    """Fill a classifier with the weights of a run, where they are there.

    Raises:
        CheckpointError: They belong to another one.
    """
    path = run_folder / FINAL
    if path.is_file():
        load_weights(classifier, load_file(path), path)


def _crops(pictures: Sequence[Embedded], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Some pictures cut to the smallest height and width among them: (B, D, h, w) and (B, h, w)."""
    chosen = [pictures[i] for i in rng.choice(len(pictures), BATCH, replace=len(pictures) < BATCH)]
    height, width = (min(int(p.label.shape[side]) for p in chosen) for side in (0, 1))
    units, labels = [], []
    for unit, label in chosen:
        top = int(rng.integers(label.shape[0] - height + 1))
        left = int(rng.integers(label.shape[1] - width + 1))
        window = (slice(top, top + height), slice(left, left + width))
        mirrored = bool(rng.random() < 0.5)
        parts = (unit[:, window[0], window[1]], label[window])
        cut = [part.flip(-1) if mirrored else part for part in parts]
        units.append(cut[0])
        labels.append(cut[1])
    return torch.stack(units), torch.stack(labels)
