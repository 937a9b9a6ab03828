"""Changes of colour and sharpness of a view, as in BYOL (Grill et al., 2020): the same for the same generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional


@dataclass(frozen=True)
class Photometry:
    """How likely a view is changed in which way, and how much.

    Attributes:
        jitter: Probability of colour jitter, its four parts in random order.
        grayscale: Probability of grey.
        blur: Probability of Gaussian blur.
        solarize: Probability of inverting what is brighter than one half.
        strength: Largest change of brightness, contrast, saturation (factors around 1) and hue (turns, at most .5).
        sigma: Range of the blur's standard deviation in pixels.
        radius: Pixels on either side that the blur reads; none: three standard deviations.
    """

    jitter: float
    grayscale: float
    blur: float
    solarize: float
    strength: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    sigma: tuple[float, float] = (0.1, 2.0)
    radius: int | None = None


def change_colours(pixels: torch.Tensor, settings: Photometry, rng: np.random.Generator) -> torch.Tensor:
    """Jitter, grey, blur and solarise a view, each with its probability, in this order.

    All draws are made whether they are used or not, so that changing one probability leaves the rest as it was.

    Args:
        pixels: (3, H, W) float32 in 0..1; not changed.
        settings: Probabilities and strengths.
        rng: Where all choices come from.

    Returns:
        (3, H, W) float32 in 0..1.
    """
    chances = rng.random(4)
    order, amounts, sigma = rng.permutation(4), rng.uniform(-1, 1, 4), rng.uniform(*settings.sigma)
    if chances[0] < settings.jitter:
        pixels = _jitter(pixels, order, amounts * settings.strength)
    if chances[1] < settings.grayscale:
        pixels = functional.rgb_to_grayscale(pixels, num_output_channels=3)
    if chances[2] < settings.blur:
        pixels = _blur(pixels, sigma, settings.radius)
    if chances[3] < settings.solarize:
        pixels = functional.solarize(pixels, 0.5)
    return pixels.clamp(0, 1)


def shift_hue(pixels: torch.Tensor, turn: float) -> torch.Tensor:
    """Turn the hue by a share of the colour circle; the largest and the smallest channel of a pixel keep their values.

    With the hue h in sixths of the circle and n = 5, 3, 1 for red, green, blue, a channel is
    ``max - (max - min) clamp(min(k, 4 - k), 0, 1)`` for ``k = (n + h) mod 6``: the numbers of torchvision's
    `adjust_hue` in a quarter of its time.

    Args:
        pixels: (3, H, W) in 0..1.
        turn: In turns, 0.5 is the opposite colour.

    Returns:
        (3, H, W).
    """
    red, green, blue = pixels
    most, least = pixels.amax(0), pixels.amin(0)
    spread = most - least
    unit = spread.clamp(min=1e-12)  # grey has no hue, and keeps its value whatever is taken for one
    hue = torch.where(
        most == red,
        (green - blue) / unit,
        torch.where(most == green, (blue - red) / unit + 2, (red - green) / unit + 4),
    )
    sixth = (hue + (6 * turn + pixels.new_tensor([5.0, 3.0, 1.0])[:, None, None])).remainder_(6)  # (3, H, W)
    return torch.minimum(sixth, 4 - sixth).clamp_(0, 1).mul_(-spread).add_(most)


def _jitter(pixels: torch.Tensor, order: np.ndarray, changes: np.ndarray) -> torch.Tensor:
    """Brightness, contrast, saturation and hue changed in an order (4,) by `changes` (4,)."""
    parts: list[Callable[[torch.Tensor, float], torch.Tensor]] = [
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
        shift_hue,
    ]
    for part in order.tolist():
        change = float(changes[part])
        pixels = parts[part](pixels, change if part == 3 else 1 + change)
    return pixels


def _blur(pixels: torch.Tensor, sigma: float, radius: int | None) -> torch.Tensor:
    """Gaussian blur by two one-dimensional passes that reach no further than the view's own side."""
    radius = min(math.ceil(3 * sigma) if radius is None else radius, min(pixels.shape[-2:]) - 1)
    at = torch.arange(-radius, radius + 1, dtype=pixels.dtype, device=pixels.device)
    kernel = torch.softmax(-at.square() / (2 * sigma**2), 0)  # exp(-t^2 / 2 sigma^2) with sum 1
    for dim, padding in ((-1, (radius, radius, 0, 0)), (-2, (0, 0, radius, radius))):
        padded, size = F.pad(pixels[None], padding, mode="reflect")[0], pixels.shape[dim]
        # Shifted copies are summed: convolutions of a single channel take three times as long.
        blurred = torch.zeros_like(pixels)
        for shift, weight in enumerate(kernel.tolist()):
            blurred.add_(padded.narrow(dim, shift, size), alpha=weight)
        pixels = blurred
    return pixels
