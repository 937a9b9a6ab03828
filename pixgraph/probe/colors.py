"""The embedding as colours: its three principal components over some pictures become red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.data.picture import Picture
from pixgraph.probe.embedding import Embedding


def pca_colors(pictures: Sequence[Picture], embedding: Embedding, stride: int = 4) -> list[np.ndarray]:
    """Colours in which places of similar embedding, also of different pictures, are alike.

    The components are those of the cells of all pictures together; each is stretched so that its 1st and 99th
    percentile become 0 and 255. The sign of a component is that which makes its largest coefficient positive.

    Args:
        pictures: Pictures with feature maps.
        embedding: Gives the vectors.
        stride: Side of a cell in pixels of the working size.

    Returns:
        One (H, W, 3) uint8 at the working size a picture.
    """
    cells = [embedding.cells(picture, stride) for picture in pictures]
    return paint_cells(cells, [(int(p.rgb.shape[-2]), int(p.rgb.shape[-1])) for p in pictures])


def paint_cells(cells: Sequence[torch.Tensor], sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """The colours of `pca_colors` for maps of vectors.

    Args:
        cells: (h, w, C) a picture.
        sizes: Height and width of its colours.

    Returns:
        One (H, W, 3) uint8 a picture.
    """
    rows = torch.cat([c.flatten(0, 1) for c in cells]).double()
    rows = rows - rows.mean(0)
    _, vectors = torch.linalg.eigh(rows.T @ rows)  # ascending
    components = vectors[:, -3:].flip(1)  # (C, 3 or fewer)
    top = components.gather(0, components.abs().argmax(0, keepdim=True))
    values = F.pad(rows @ (components * top.sign()), (0, 3 - components.shape[1]))  # (n, 3)
    low, high = np.percentile(values.cpu().numpy(), (1, 99), axis=0)
    scaled = (values.cpu().numpy() - low) / np.maximum(high - low, 1e-9)
    painted, start = [], 0
    for wanted, c in zip(sizes, cells, strict=True):
        size = c.shape[0] * c.shape[1]
        image = torch.from_numpy(scaled[start : start + size]).float().T.reshape(1, 3, *c.shape[:2])
        full = F.interpolate(image, wanted, mode="bilinear", align_corners=False)[0]
        painted.append((255 * full.clamp(0, 1)).round().byte().permute(1, 2, 0).numpy())
        start += size
    return painted
