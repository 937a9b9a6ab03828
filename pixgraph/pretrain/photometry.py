"""Changes of colour and sharpness of a view, as in BYOL (Grill et al., 2020): the same for the same generator."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torchvision.transforms.v2 import functional

JITTER = (0.4, 0.4, 0.2, 0.1)
"""Largest change of brightness, contrast, saturation (factors around 1) and hue (turns)."""

SIGMA = (0.1, 2.0)
"""Range of the blur's standard deviation in pixels of the view."""


def change_colours(
    pixels: torch.Tensor, jitter: float, grayscale: float, blur: float, solarize: float, rng: np.random.Generator
) -> torch.Tensor:
    """Jitter, grey, blur and solarise a view, each with its probability, in this order.

    All draws are made whether they are used or not, so that changing one probability leaves the rest as it was.

    Args:
        pixels: (3, S, S) float32 in 0..1; not changed.
        jitter: Probability of colour jitter, its four parts in random order.
        grayscale: Probability of grey.
        blur: Probability of Gaussian blur.
        solarize: Probability of inverting what is brighter than one half.
        rng: Where all choices come from.

    Returns:
        (3, S, S) float32 in 0..1.
    """
    chances = rng.random(4)
    order, amounts, sigma = rng.permutation(4), rng.uniform(-1, 1, 4), rng.uniform(*SIGMA)
    if chances[0] < jitter:
        pixels = _jitter(pixels, order, amounts)
    if chances[1] < grayscale:
        pixels = functional.rgb_to_grayscale(pixels, num_output_channels=3)
    if chances[2] < blur:
        pixels = _blur(pixels, sigma)
    if chances[3] < solarize:
        pixels = functional.solarize(pixels, 0.5)
    return pixels.clamp(0, 1)


def _jitter(pixels: torch.Tensor, order: np.ndarray, amounts: np.ndarray) -> torch.Tensor:
    """Brightness, contrast, saturation and hue changed in an order (4,) by amounts (4,) in -1..1 of `JITTER`."""
    parts: list[Callable[[torch.Tensor, float], torch.Tensor]] = [
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        functional.adjust_hue,
    ]
    for part in order.tolist():
        change = float(amounts[part]) * JITTER[part]
        pixels = parts[part](pixels, change if part == 3 else 1 + change)
    return pixels


def _blur(pixels: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur by two one-dimensional passes, cut at three standard deviations or the view's own side."""
    radius = min(math.ceil(3 * sigma), min(pixels.shape[-2:]) - 1)
    at = torch.arange(-radius, radius + 1, dtype=pixels.dtype, device=pixels.device)
    kernel = torch.softmax(-at.square() / (2 * sigma**2), 0)  # exp(-t^2 / 2 sigma^2) with sum 1
    padded = torch.nn.functional.pad(pixels[:, None], (radius,) * 4, mode="reflect")  # (3, 1, S + 2r, S + 2r)
    rows = torch.nn.functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return torch.nn.functional.conv2d(rows, kernel.view(1, 1, -1, 1))[:, 0]
