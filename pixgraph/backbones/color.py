"""Colour spaces on tensors, for backbones that look at colour themselves."""

from __future__ import annotations

import torch

# Linear sRGB to XYZ under D65 (IEC 61966-2-1), each row divided by the white point.
_XYZ = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
_EPSILON = (6 / 29) ** 3


def rgb_to_lab(rgb: torch.Tensor) -> torch.Tensor:
    """CIE Lab (D65) of sRGB, divided by 100: L in 0..1, a and b within about -1..1.

    Args:
        rgb: (B, 3, H, W) float in 0..1.

    Returns:
        (B, 3, H, W).
    """
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("kc,bchw->bkhw", rgb.new_tensor(_XYZ), linear)
    f = torch.where(xyz > _EPSILON, xyz.clamp(min=_EPSILON) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f.unbind(1)  # (B, H, W) each
    return torch.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], 1)
