"""Pixel propagation: every cell of a map becomes a sum over the cells that look like it (Xie et al. 2021, PixPro)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from pixgraph.errors import ConfigError

BLOCK = 2**24
"""Similarities that are held at a time when `chunk` is "auto": 64 MB in float32."""


def propagate(
    x: torch.Tensor, values: torch.Tensor, gamma: float = 2.0, clamp: float = 0.0, chunk: int | None = None
) -> torch.Tensor:
    """y_i = sum_j max(cos(x_i, x_j), clamp)^gamma v_j, over all cells j of the map, i itself among them.

    The weights do not sum to one: the loss takes directions only.

    Args:
        x: (B, C, H, W) features that are compared, of any length.
        values: (B, D, H, W) what is summed.
        gamma: Sharpness; below one, 1e-6 is added to the similarities, so that the gradient stays finite.
        clamp: Similarities below it count as it.
        chunk: Cells i at a time, R: the same sums and gradients in O(B R H W) instead of O(B (H W)^2) memory, with the
            similarities computed once more for the gradient; `None`: all at once.

    Returns:
        (B, D, H, W), of any length.

    Raises:
        ValueError: The maps differ in size, or `chunk` is less than one.
    """
    if x.shape[0] != values.shape[0] or x.shape[2:] != values.shape[2:]:
        raise ValueError(f"propagate: got maps {tuple(x.shape)} and {tuple(values.shape)}, expected the same B, H, W")
    if chunk is not None and chunk < 1:
        raise ValueError(f"propagate: got chunk {chunk}, expected at least 1, or None for the whole map at once")
    unit, v = F.normalize(x, dim=1).flatten(2), values.flatten(2)  # (B, C, N), (B, D, N)
    cells = unit.shape[2]
    if chunk is None or chunk >= cells:
        out = weighted_sums(unit, unit, v, gamma, clamp)
    else:
        # Nothing of a chunk is kept but its sums.
        parts = [
            checkpoint(weighted_sums, rows, unit, v, gamma, clamp, use_reentrant=False, preserve_rng_state=False)
            for rows in unit.split(chunk, 2)
        ]
        out = torch.cat(parts, 2)
    return out.unflatten(2, x.shape[2:])


def sharpen(similarity: torch.Tensor, gamma: float, clamp: float) -> torch.Tensor:
    """max(similarity, clamp)^gamma, elementwise; for gamma below one (max(similarity, clamp) + 1e-6)^gamma."""
    kept = similarity.relu() if clamp == 0 else similarity.clamp_min(clamp)
    if gamma == 2:
        return kept * kept
    if gamma < 1:
        kept = kept + 1e-6
    return kept if gamma == 1 else kept.pow(gamma)


def weighted_sums(rows: torch.Tensor, unit: torch.Tensor, v: torch.Tensor, gamma: float, clamp: float) -> torch.Tensor:
    """The sums of some cells.

    Args:
        rows: (B, C, R) unit vectors of those cells.
        unit: (B, C, N) unit vectors of all cells.
        v: (B, D, N) their values.
        gamma: Sharpness.
        clamp: Similarities below it count as it.

    Returns:
        (B, D, R).
    """
    similarity = torch.bmm(rows.transpose(1, 2), unit)  # (B, R, N)
    return torch.bmm(v, sharpen(similarity, gamma, clamp).transpose(1, 2))


def value_transform(channels: int, layers: int) -> nn.Module:
    """g, what the values go through before they are summed.

    Args:
        channels: C, in and out.
        layers: 0: nothing; 1: a 1x1 convolution; 2: 1x1 convolution, batch norm, ReLU, 1x1 convolution.

    Raises:
        ConfigError: Another number of layers.
    """
    if layers not in (0, 1, 2):
        raise ConfigError(f"pixel.ppm_layers is {layers}; expected 0, 1 or 2 layers")
    if layers == 0:
        return nn.Identity()
    if layers == 1:
        return nn.Conv2d(channels, channels, 1)
    first, second = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
    return nn.Sequential(first, nn.BatchNorm2d(channels), nn.ReLU(), second)


def check_sharpness(gamma: float, clamp: float) -> None:
    """Refuse settings under which the weights are no numbers.

    Raises:
        ConfigError: gamma is not positive, or a negative clamp meets a gamma that is no whole number.
    """
    if gamma <= 0:
        raise ConfigError(f"pixel.ppm_gamma is {gamma:g}; expected more than 0, such as 2")
    if clamp < 0 and gamma != int(gamma):
        raise ConfigError(
            f"pixel.ppm_clamp is {clamp:g} and pixel.ppm_gamma {gamma:g}: a negative number has no such power; "
            "expected a clamp of at least 0, or a whole gamma"
        )


class PixelPropagation(nn.Module):
    """PixPro's pixel propagation module: `propagate` of the map itself, with values g(x).

    The official code scales the values to length one, PixelCL does not.

    Args:
        channels: C of the map.
        layers: Layers of g; see `value_transform`.
        gamma: Sharpness.
        clamp: Similarities below it count as it.
        normalise_values: Whether g(x) is scaled to length one.
        chunk: Cells at a time, `None` for all, or "auto" for as many as `BLOCK` similarities allow.

    Raises:
        ConfigError: A number of layers, gamma or clamp that has no meaning.
    """

    def __init__(
        self,
        channels: int,
        layers: int = 1,
        gamma: float = 2.0,
        clamp: float = 0.0,
        normalise_values: bool = True,
        chunk: int | Literal["auto"] | None = "auto",
    ) -> None:
        super().__init__()
        check_sharpness(gamma, clamp)
        self.transform = value_transform(channels, layers)
        self.gamma, self.clamp, self.normalise_values, self.chunk = gamma, clamp, normalise_values, chunk

    def values(self, x: torch.Tensor) -> torch.Tensor:
        """g(x), scaled to length one where asked; (B, C, H, W)."""
        values = self.transform(x)
        return F.normalize(values, dim=1) if self.normalise_values else values

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The propagated map, of any length; (B, C, H, W) like `x`."""
        return propagate(x, self.values(x), self.gamma, self.clamp, self._rows(x))

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"gamma={self.gamma:g}, clamp={self.clamp:g}, normalise_values={self.normalise_values}"

    def _rows(self, x: torch.Tensor) -> int | None:
        """Cells at a time."""
        if self.chunk != "auto":
            return self.chunk
        cells = x.shape[2] * x.shape[3]
        return None if len(x) * cells * cells <= BLOCK else max(1, BLOCK // (len(x) * cells))
