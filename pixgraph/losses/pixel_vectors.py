"""The vectors of pixels, numbered picture by picture and row by row, without a copy of the map that holds them."""

from __future__ import annotations

import torch


def vector_rows(vectors: torch.Tensor) -> list[torch.Tensor]:
    """The vectors as views (n, D) of those that follow one another, one a picture.

    Args:
        vectors: (N, D), or a map (B, D, h, w) of N = B h w pixels.
    """
    return [vectors] if vectors.dim() == 2 else [picture.flatten(1).T for picture in vectors]


def vectors_at(vectors: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """The vectors (..., D) of the pixels whose numbers (...) are given.

    Args:
        vectors: (N, D) or (B, D, h, w).
        number: int64, of any shape.
    """
    if vectors.dim() == 2:
        return vectors[number]
    height, width = vectors.shape[2:]
    # Not from the moved map, whose gradient would be copied back into this one's order.
    return vectors[number // (height * width), :, number // width % height, number % width]
