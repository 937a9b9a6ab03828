"""Scores spread over a picture by a random walk on the affinity of its embeddings, and labels made from them.

    a_ij = exp(5 (cos_ij - 1)), the mean over the picture and its mirror image;  T = column-normalised a^20
    scores <- scores T^64

as in SPML after AffinityNet (Ahn and Kwak, CVPR 2018). The outlines are then refined by scikit-image's `random_walker`
(Grady 2006) on the colours, from the surest pixels of each class, where SPML runs a dense CRF.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.data.base import UNLABELLED

SHARPNESS = 5.0
POWER = 20.0
DOUBLINGS = 6
"""The walk has 2 to this many steps."""
BETA = 2000.0
"""How much a difference of colours hinders the refining walk; chosen, as `SEEDS`, on training pictures."""
SEEDS = 0.3
"""Share of the pixels of each class, the surest, from which the refining walk starts."""


def affinity(unit: torch.Tensor, mirrored: torch.Tensor | None = None) -> torch.Tensor:
    """exp(5 (cos - 1)) between all cells of a picture: (n, n), n = h * w.

    Args:
        unit: (D, h, w) unit embeddings.
        mirrored: Those of the mirrored picture, not mirrored back; the affinities are averaged.
    """
    flat = unit.flatten(1)
    found = torch.exp(SHARPNESS * (flat.T @ flat - 1))
    if mirrored is None:
        return found
    back = mirrored.flip(2).flatten(1)
    return (found + torch.exp(SHARPNESS * (back.T @ back - 1))) / 2


def walk(
    scores: torch.Tensor, affinities: torch.Tensor, power: float = POWER, doublings: int = DOUBLINGS
) -> torch.Tensor:
    """Scores after 2^doublings steps of the walk: each is then a mean of the scores of cells alike.

    Args:
        scores: (C, n).
        affinities: (n, n) positive.
        power: Exponent that sharpens the affinities.
        doublings: Logarithm of the number of steps.

    Returns:
        (C, n).
    """
    sharp = affinities**power
    transition = sharp / sharp.sum(0, keepdim=True).clamp_min(1e-12)
    if len(scores) * 2**doublings <= doublings * len(transition):  # so many products of fewer rows are cheaper
        for _ in range(2**doublings):
            scores = scores @ transition
        return scores
    for _ in range(doublings):
        transition = transition @ transition
    return scores @ transition


def refine(rgb: np.ndarray, scores: np.ndarray, present: np.ndarray, seeds: float = SEEDS) -> np.ndarray:
    """Labels of all pixels: a random walk on the colours from the surest pixels of each class.

    Args:
        rgb: (H, W, 3) uint8.
        scores: (C, H, W) of the classes.
        present: (C,) bool: the classes that may occur.
        seeds: Share of the pixels won by a class from which the walk starts, in (0, 1].

    Returns:
        (H, W) uint8 classes; 254 everywhere if none may occur, and where none has a score if the walk has nowhere to
        start.
    """
    from skimage.segmentation import random_walker

    ways = np.flatnonzero(present)
    if not len(ways):
        return np.full(scores.shape[1:], UNLABELLED, np.uint8)
    chosen = scores[ways]
    best = np.where(chosen.max(0) > 0, chosen.argmax(0), -1)  # (H, W)
    won = np.unique(best[best >= 0])
    if len(won) < 2:  # one class alone, or none
        return np.where(best >= 0, ways[best], UNLABELLED).astype(np.uint8)
    top = np.sort(chosen, axis=0)[::-1]
    margin = top[0] - top[1]
    markers = np.zeros(best.shape, np.int64)
    for number, way in enumerate(won, 1):
        own = best == way
        markers[own & (margin >= np.quantile(margin[own], 1 - seeds))] = number
    found = random_walker(rgb / 255.0, markers, beta=BETA, mode="bf", channel_axis=-1)
    return np.where(found > 0, ways[won[np.clip(found - 1, 0, None)]], UNLABELLED).astype(np.uint8)


def enlarge(scores: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """Scores (C, h, w) at all pixels, bilinear: (C, H, W) float32."""
    full: np.ndarray = F.interpolate(scores[None].float(), size, mode="bilinear", align_corners=False)[0].cpu().numpy()
    return full
