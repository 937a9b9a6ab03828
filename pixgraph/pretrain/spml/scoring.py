"""Scores of any classifier of pixels on whole pictures with full masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.semantic import SemanticSplit
from pixgraph.probe.confusion import Confusion

Classify = Callable[[torch.Tensor], torch.Tensor]
"""From pictures (B, 3, H, W) in 0..1 to logits (B, C, h, w)."""


def as_picture(rgb: np.ndarray, short_side: int) -> torch.Tensor:
    """A picture (H, W, 3) uint8 as the network takes it: (1, 3, h, w) in 0..1, shrunk to a short side, 0: as it is."""
    pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)
    if short_side and min(pixels.shape[-2:]) > short_side:
        pixels = functional.resize(pixels, [short_side], antialias=True)
    return pixels[None].float().div_(255)


@torch.no_grad()
def predict_classes(
    classify: Classify, rgb: np.ndarray, short_side: int, device: torch.device | str = "cpu"
) -> np.ndarray:
    """The likeliest class of each pixel: logits are interpolated to the picture's own size.

    Args:
        classify: The classifier, in evaluation mode.
        rgb: (H, W, 3) uint8.
        short_side: Pictures are shrunk to it first; 0: they stay as they are.
        device: Where to compute.

    Returns:
        (H, W) uint8.
    """
    logits = classify(as_picture(rgb, short_side).to(device)).float()
    large = F.interpolate(logits, rgb.shape[:2], mode="bilinear", align_corners=False)
    found: np.ndarray = large[0].argmax(0).to(torch.uint8).cpu().numpy()
    return found


def score_classes(
    classify: Classify,
    split: SemanticSplit,
    indices: Iterable[int],
    short_side: int,
    device: torch.device | str = "cpu",
) -> Confusion:
    """Counts of (truth, prediction) over all pixels of some pictures, at their own size.

    Args:
        classify: The classifier, in evaluation mode.
        split: The pictures.
        indices: Which of them.
        short_side: See `predict_classes`.
        device: Where to compute.

    Raises:
        DataError: A file is missing or broken.
    """
    confusion = Confusion(range(split.classes))
    for index in indices:
        rgb, truth = split.read(index)
        confusion.add(predict_classes(classify, rgb, short_side, device), np.where(truth == UNLABELLED, IGNORE, truth))
    return confusion
