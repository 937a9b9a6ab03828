"""Low-level regions of a picture: pixels of one look, as scikit-image finds them."""

from __future__ import annotations

from typing import Literal

import numpy as np

RegionKind = Literal["slic", "felzenszwalb", "none"]


def low_level_regions(rgb: np.ndarray, kind: RegionKind, count: int) -> np.ndarray:
    """Divide a picture by its colours; what SPML takes from the edges of HED-OWT-UCM, which scikit-image does not have.

    Args:
        rgb: (H, W, 3) uint8.
        kind: "slic": compact regions of about equal size (Achanta et al. 2012); "felzenszwalb": regions of any shape
            whose borders are stronger than their inside (Felzenszwalb and Huttenlocher 2004); "none": one region.
        count: About how many regions; for "felzenszwalb" the smallest one has a quarter of their mean area.

    Returns:
        (H, W) int64, numbered from 0 without gaps.

    Example:
        >>> low_level_regions(np.zeros((4, 6, 3), np.uint8), "none", 9).max()
        np.int64(0)
    """
    height, width = rgb.shape[:2]
    if kind == "none" or count == 1:
        return np.zeros((height, width), np.int64)
    from skimage.segmentation import felzenszwalb, slic

    if kind == "slic":
        found = slic(rgb, count, compactness=10.0, start_label=0, channel_axis=-1)
    else:
        area = max(1, height * width // count)
        found = felzenszwalb(rgb, scale=100.0, sigma=0.8, min_size=max(1, area // 4), channel_axis=-1)
    return np.unique(found, return_inverse=True)[1].reshape(height, width).astype(np.int64)
