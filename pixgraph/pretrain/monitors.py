"""What shows a collapse: losses without negatives are at their best when all vectors are equal."""

from __future__ import annotations

import torch
import torch.nn.functional as F

SAMPLE = 512
"""Vectors that are looked at in a step."""


def collapse_monitors(embedding: torch.Tensor) -> dict[str, torch.Tensor]:
    """Spread and rank of a projected map.

    Args:
        embedding: (B, D, H, W) of any length; of its vectors `SAMPLE` at most are taken, evenly over the batch.

    Returns:
        ``embedding_std``: mean over the dimensions of the standard deviation of the unit vectors, 0 at collapse and
        close to ``embedding_std_healthy`` = D^-1/2 when they point everywhere alike; ``embedding_rank``: see
        `effective_rank`. Scalars without gradient, on the map's device.
    """
    with torch.no_grad():
        unit = unit_sample(embedding)
        healthy = unit.new_tensor(unit.shape[1] ** -0.5)
        std = unit.std(0, correction=0).mean() if len(unit) else unit.new_zeros(())
        return {"embedding_std": std, "embedding_std_healthy": healthy, "embedding_rank": effective_rank(unit)}


def effective_rank(x: torch.Tensor) -> torch.Tensor:
    """Participation ratio of the covariance, (sum_k l_k)^2 / sum_k l_k^2 over its eigenvalues l.

    k when the vectors spread evenly over k dimensions, at most D and less than their number; 0 when all are equal.
    It needs no eigenvalues: the sums are the trace of the covariance and its squared Frobenius norm.

    Args:
        x: (n, D) float.

    Example:
        >>> effective_rank(torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]))
        tensor(2.)
    """
    if not len(x):
        return x.new_zeros(())
    centred = x - x.mean(0)
    scale = centred.abs().amax()  # keeps the fourth powers within range
    centred = centred / scale.clamp_min(torch.finfo(x.dtype).tiny)
    covariance = centred.T @ centred if x.shape[1] <= len(x) else centred @ centred.T
    rank = covariance.diagonal().sum().square() / covariance.square().sum().clamp_min(torch.finfo(x.dtype).tiny)
    # Rounding leaves differences of about an epsilon between vectors that are equal.
    return torch.where(scale > 8 * torch.finfo(x.dtype).eps * x.abs().amax(), rank, torch.zeros_like(rank))


def unit_sample(embedding: torch.Tensor, count: int = SAMPLE) -> torch.Tensor:
    """Unit vectors at evenly spaced cells of a batch of maps.

    Args:
        embedding: (B, D, H, W).
        count: How many at most.

    Returns:
        (n, D) float32 (float64 for such maps).
    """
    batch, dimensions, height, width = embedding.shape
    cells = batch * height * width
    n = min(count, cells)
    place = torch.arange(n, device=embedding.device) * cells // max(n, 1)
    image, cell = place // (height * width), place % (height * width)
    found = embedding.reshape(batch, dimensions, height * width)[image, :, cell]
    return F.normalize(found.to(torch.promote_types(found.dtype, torch.float32)), dim=1)
