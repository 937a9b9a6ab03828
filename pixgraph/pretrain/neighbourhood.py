"""The pixels that a pixel is propagated from at full resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pixgraph.errors import ConfigError

FORMS = ("cell", "window", "map")


def neighbourhood(
    pixel: torch.Tensor, shape: Sequence[int], form: str, reach: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels around others.

    Args:
        pixel: (P,) int64 pixels, row by row.
        shape: Rows and columns of the map, (H, W).
        form: "cell": the map is cut into fixed cells from its upper left corner, and a pixel has all pixels of its own
            cell; cells at the lower and right border may be smaller. "window": the pixels around it.
        reach: Side of the cells, or of the window: `reach` where that is odd, else the next odd number.

    Returns:
        Neighbours (P, K) int64, the pixel itself among them; and bool (P, K), false where a neighbour lies outside the
        map or the cell, and the number means nothing.

    Raises:
        ConfigError: The form is unknown or `reach` less than one.
    """
    if form not in FORMS[:2] or reach < 1:
        raise ConfigError(f"neighbourhood {form!r} of {reach} pixels; expected cell or window of at least 1 pixel")
    axes = (pixel // shape[1], pixel % shape[1])
    (rows, down), (columns, across) = (
        _run(place, length, form, reach) for place, length in zip(axes, shape, strict=True)
    )
    index = rows[:, :, None] * shape[1] + columns[:, None, :]  # (P, h, w)
    valid = down[:, :, None] & across[:, None, :]
    return index.flatten(1), valid.flatten(1)


def _run(place: torch.Tensor, length: int, form: str, reach: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Neighbours on one axis, (P, n), and which of them exist."""
    if form == "cell":
        begin, count = place // reach * reach, min(reach, length)
    else:
        half = min(reach // 2, length - 1)
        begin, count = place - half, 2 * half + 1
    at = begin[:, None] + torch.arange(count, device=place.device)
    return at.clamp(0, length - 1), (at >= 0) & (at < length)
