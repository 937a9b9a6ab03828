"""Views of pictures with labels: one geometry for picture, label and confidence, colours for the picture alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from pixgraph.pretrain.mixing import LabelledMaps, Mixing, mix
from pixgraph.pretrain.photometry import Photometry, change_colours
from pixgraph.pretrain.placement import draw_placement, place_label, place_picture, place_values


@dataclass
class LabelledViewConfig:
    """Views of pictures with labels.

    Attributes:
        size: Side of a view in pixels.
        short_side: Pictures are shrunk to this short side first, labels with them; 0: they stay as they are.
        scale: Smallest and largest factor by which a picture is scaled before it is cropped.
        flip: Probability of a horizontal flip.
        jitter: Probability of colour jitter (brightness, contrast, saturation and hue by up to .25 each).
        blur: Probability of Gaussian blur, sigma .15 .. 1.15 pixels.
    """

    size: int = 160
    short_side: int = 0
    scale: list[float] = field(default_factory=lambda: [0.5, 1.5])
    flip: float = 0.5
    jitter: float = 0.8
    blur: float = 0.5

    @property
    def photometry(self) -> Photometry:
        """How colours change."""
        return Photometry(self.jitter, 0.0, self.blur, 0.0, (0.25, 0.25, 0.25, 0.25), (0.15, 1.15))


def weak_view(
    picture: torch.Tensor, label: torch.Tensor, config: LabelledViewConfig, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A scaled crop, not mirrored, its colours as they are: what the teacher sees.

    Args:
        picture: (3, H, W) uint8.
        label: (H, W) uint8: class, 254 unlabelled or 255 ignored.
        config: Size and scale.
        rng: Where all choices come from.

    Returns:
        (3, S, S) float32 in 0..1, and (S, S) int64 with 255 beyond the picture.
    """
    return _view(picture, label, config, 0.0, rng)


def augmented_view(
    picture: torch.Tensor, label: torch.Tensor, config: LabelledViewConfig, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A scaled crop, mirrored, its colours changed: what a network learns labels from; types as in `weak_view`."""
    pixels, classes = _view(picture, label, config, config.flip, rng)
    return change_colours(pixels, config.photometry, rng), classes


def strong_views(
    maps: LabelledMaps, config: LabelledViewConfig, strategy: Mixing, rng: np.random.Generator
) -> LabelledMaps:
    """What the student sees of the weak views and of what the teacher said of them: scale and crop, mix, flip, colours.

    Labels and confidences go wherever their pixels go; beyond a picture they are 255 and 0. Nearest pixels for both: a
    confidence belongs to one label.

    Args:
        maps: B weak views of side S with labels and confidences; on any device, not changed.
        config: Size, scale and probabilities.
        strategy: How pictures are mixed.
        rng: Where all choices come from.

    Returns:
        The same shapes and types.
    """
    scaled = [_placed(one, config, 0.0, rng) for one in zip(*maps, strict=True)]
    mixed = mix(_stacked(scaled), strategy, rng)
    finished = []
    for image, label, confidence in zip(*mixed, strict=True):
        mirrored = rng.random() < config.flip
        one = [part.flip(-1) if mirrored else part for part in (image, label, confidence)]
        finished.append((change_colours(one[0], config.photometry, rng), one[1], one[2]))
    return _stacked(finished)


Maps = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _view(
    picture: torch.Tensor, label: torch.Tensor, config: LabelledViewConfig, flip: float, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    placement = draw_placement(picture.shape[-2:], config.size, config.scale, flip, rng)
    # Scaled as integers: a third of the time of floats.
    return place_picture(picture, placement).float().div_(255), place_label(label, placement).long()


def _placed(maps: Maps, config: LabelledViewConfig, flip: float, rng: np.random.Generator) -> Maps:
    """Picture (3, S, S), label and confidence (S, S) scaled and cropped alike."""
    image, label, confidence = maps
    placement = draw_placement(label.shape, config.size, config.scale, flip, rng)
    return place_picture(image, placement), place_label(label, placement), place_values(confidence, placement, 0.0)


def _stacked(found: list[Maps]) -> LabelledMaps:
    images, labels, confidences = zip(*found, strict=True)
    return LabelledMaps(torch.stack(images), torch.stack(labels), torch.stack(confidences))
