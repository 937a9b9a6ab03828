"""From probabilities at the working size to the label map that a protocol scores."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.data.base import IGNORE
from pixgraph.data.images import resize_mask
from pixgraph.data.protocols import Protocol


def resize_labels(probabilities: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """Most probable label at another size: probabilities are resized bilinearly, then the largest wins.

    Args:
        probabilities: (N+1, h, w) float.
        size: Height and width (H, W) of the answer; ties go to the smaller label.

    Returns:
        (H, W) uint8.
    """
    if tuple(probabilities.shape[-2:]) != size:
        probabilities = F.interpolate(probabilities[None].float(), size, mode="bilinear", align_corners=False)[0]
    if len(probabilities) == 2:  # as argmax, several times faster
        return (probabilities[1] > probabilities[0]).to(torch.uint8).cpu().numpy()
    return probabilities.argmax(0).to(torch.uint8).cpu().numpy()


def check_probabilities(probabilities: torch.Tensor, n_way: int, name: str) -> None:
    """Refuse an answer that would be scored as something else than what the method meant.

    Raises:
        ValueError: It has not N+1 channels, or holds values that are not finite.
    """
    if probabilities.ndim != 3 or len(probabilities) != n_way + 1:
        raise ValueError(
            f"{name} answered with shape {tuple(probabilities.shape)}, expected ({n_way + 1}, H, W) for {n_way} ways"
        )
    # A sum is not finite if any term is not, and needs no temporary array.
    if not math.isfinite(float(probabilities.sum())):
        raise ValueError(f"{name} answered with values that are not finite; check its weights and inputs")


def scored_masks(probabilities: torch.Tensor, truth: np.ndarray, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth as `protocol` compares them.

    Three rules: at the photograph's own size (`score_size` none); at a square size, to which the truth is squashed
    by nearest neighbour; or at its own size inside a square of the longer side whose rest is 255. The square's rest
    is ignored, so the last rule gives the counts of the first; it is kept for what others see on the canvas.

    Args:
        probabilities: (N+1, h, w) at the working size, to which the photograph was squashed.
        truth: (H, W) labels 0..N and 255 at the photograph's own size.
        protocol: What to score at.

    Returns:
        Prediction and truth, uint8, of one shape.
    """
    height, width = truth.shape
    if protocol.score_size is not None:
        size = (protocol.score_size, protocol.score_size)
        return resize_labels(probabilities, size), resize_mask(truth, size)
    prediction = resize_labels(probabilities, (height, width))
    if protocol.padded:
        rest = ((0, max(height, width) - height), (0, max(height, width) - width))
        return np.pad(prediction, rest), np.pad(truth, rest, constant_values=IGNORE)
    return prediction, truth
