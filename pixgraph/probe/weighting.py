"""What a training pixel of each class weighs, from how often the classes occur."""

from __future__ import annotations

import numpy as np


def class_weights(counts: np.ndarray, weighting: str) -> np.ndarray:
    """Weights of the classes.

    "none": 1. "inverse": 1 / frequency, so that all classes count alike. "median": median frequency balancing (Eigen
    and Fergus, 2015): the frequency of a class is its pixels over all pixels of the pictures that show it, and its
    weight the median of these frequencies over its own.

    Args:
        counts: (pictures, M) pixels of each class in each picture.
        weighting: One of the three.

    Returns:
        (M,) float64, scaled so that the mean weight of a pixel is 1; 0 for a class that does not occur.

    Example:
        >>> class_weights(np.array([[3, 1], [4, 0]]), "inverse").round(3).tolist()
        [0.571, 4.0]
    """
    pixels = counts.sum(0).astype(np.float64)  # (M,)
    shown = pixels > 0
    weights = np.zeros(len(pixels))
    if not shown.any():
        return weights
    if weighting == "inverse":
        weights[shown] = 1 / pixels[shown]
    elif weighting == "median":
        around = np.where(counts > 0, counts.sum(1, keepdims=True), 0).sum(0)  # pixels of pictures with the class
        frequency = pixels[shown] / around[shown]
        weights[shown] = np.median(frequency) / frequency
    else:
        weights[shown] = 1
    return weights * (pixels.sum() / (weights * pixels).sum())
