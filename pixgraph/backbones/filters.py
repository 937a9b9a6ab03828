"""The default backbone: a fixed bank of colour and texture filters that needs no training and no download.

The picture becomes Lab and a Gaussian pyramid. On each octave of L, Gabor pairs at six orientations give local
energies, whose second harmonic over orientation says how directed the texture is, and where to. Energies are averaged
over the cell before they are compressed by a logarithm, and join colour, colour against its surroundings, and chroma
contrast. Every kind of channel is centred and scaled by its mean and deviation over photographs, so that cosine
similarity weighs all alike.

Literature: Malik and Perona, Preattentive texture discrimination, 1990; Bigun and Granlund, Optimal orientation
detection of linear symmetry, 1987.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.backbones.base import Backbone
from pixgraph.backbones.color import rgb_to_lab

_STRIDES = 3  # 4, 8, 16
_ORIENTATIONS = 6
_WAVELENGTH = 5.0
_RADIUS = 4
_FLOOR = 1e-5  # squared contrast of noise: below it the logarithm flattens

# Mean and deviation of each kind of channel over photographs.
_COLOUR = {
    "L": (0.5, 0.22),
    "a": (0.01, 0.11),
    "b": (0.09, 0.15),
    "L against surroundings": (0.0, 0.1),
    "a against surroundings": (0.0, 0.04),
    "b against surroundings": (0.0, 0.06),
}
_TEXTURE = {
    "log energy": (-3.9, 1.8),
    "directedness": (0.38, 0.2),
    "direction, cosine": (0.0, 0.3),
    "direction, sine": (0.0, 0.3),
    "bright or dark spots": (0.0, 0.15),
    "log chroma energy": (-9.0, 1.5),
}


class FilterBank(Backbone):
    """At each of the strides 4, 8 and 16 a level of colour (6 channels) and one of texture (12, 18, 24).

    They are levels of their own because whoever compares pictures level by level may then trust one and not the other.
    The texture of a coarse cell describes the finer octaves, too: averaging the picture first would lose them.
    """

    def __init__(self) -> None:
        levels = tuple(
            f"{what} at stride {4 << i}, version 1" for i in range(_STRIDES) for what in ("colour", "texture")
        )
        super().__init__("filters", "nothing (fixed filters)", levels, mean=(0.0,) * 3, std=(1.0,) * 3)
        self.gabor = nn.Buffer(_gabor_pairs())
        twice = 2 * math.pi * torch.arange(_ORIENTATIONS) / _ORIENTATIONS
        self.harmonic = nn.Buffer(torch.stack([twice.cos(), twice.sin()]) / _ORIENTATIONS)  # (2, A)
        self.colour_scale = nn.Buffer(torch.tensor(list(_COLOUR.values())).T.reshape(2, 1, -1, 1, 1))
        self.texture_scale = nn.Buffer(torch.tensor(list(_TEXTURE.values())).T.reshape(2, 1, -1, 1, 1))
        self.describe()

    def extract(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of pictures (B, 3, H, W) in 0..1, finest first."""
        octaves = [rgb_to_lab(x)]  # octave o has stride 2^o
        while len(octaves) < _STRIDES + 3:
            octaves.append(_halve(octaves[-1]))
        energies = [self._energies(octave) for octave in octaves[: _STRIDES + 1]]
        maps = []
        for level in range(_STRIDES):
            depth = level + 2  # of the octave whose stride is the level's
            for o in range(depth):
                while energies[o].shape[2] > octaves[depth].shape[2]:
                    energies[o] = _halve(energies[o])
            maps.append(self._colour(octaves[depth], octaves[depth + 1]))
            maps.append(torch.cat([self._texture(_blur(e)) for e in energies[:depth]], 1))
        return maps

    def _energies(self, lab: torch.Tensor) -> torch.Tensor:
        """What may be averaged of one octave (B, 3, h, w): energy, cosine, sine, spots, chroma: (B, 5, h, w)."""
        padded = F.pad(lab[:, :1], [_RADIUS] * 4, mode="replicate")
        even, odd = F.conv2d(padded, self.gabor).split(_ORIENTATIONS, 1)  # (B, A, h, w) each
        energy = even.square().addcmul_(odd, odd)
        turned = torch.einsum("ka,bahw->bkhw", self.harmonic, energy)
        spots = (even * even.abs()).mean(1, keepdim=True)
        chroma = (lab[:, 1:] - _blur(lab[:, 1:])).square().sum(1, keepdim=True)
        return torch.cat([energy.mean(1, keepdim=True), turned, spots, chroma], 1)

    def _texture(self, energies: torch.Tensor) -> torch.Tensor:
        """Averaged energies (B, 5, h, w), made independent of contrast and scaled: (B, 6, h, w)."""
        energy, chroma = energies[:, :1], energies[:, 4:]
        relative = energies[:, 1:4] / (energy + _FLOOR)
        directed = relative[:, :2].norm(dim=1, keepdim=True)
        kinds = [(energy + _FLOOR).log(), directed, relative, (chroma + _FLOOR).log()]
        return _scaled(torch.cat(kinds, 1), self.texture_scale)

    def _colour(self, lab: torch.Tensor, coarser: torch.Tensor) -> torch.Tensor:
        """Colour, and its difference to surroundings of about eight cells: (B, 6, h, w)."""
        wide = F.avg_pool2d(coarser, 3, 1, 1, count_include_pad=False)
        wide = F.interpolate(wide, size=lab.shape[2:], mode="bilinear", align_corners=False)
        return _scaled(torch.cat([lab, lab - wide], 1), self.colour_scale)


def _scaled(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Centred, scaled, and limited, lest one odd channel decide a whole distance."""
    return ((x - scale[0]) / scale[1]).clamp(-3, 3)


def _gabor_pairs() -> torch.Tensor:
    """Even filters, then odd ones, of zero mean and unit norm: (2 A, 1, k, k)."""
    axis = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    window = torch.exp(-(x * x + y * y) / (2 * (_RADIUS / 2) ** 2))
    even, odd = [], []
    for i in range(_ORIENTATIONS):
        angle = math.pi * i / _ORIENTATIONS
        phase = 2 * math.pi / _WAVELENGTH * (x * math.cos(angle) + y * math.sin(angle))
        wave = window * phase.cos()
        even.append(wave - window * wave.sum() / window.sum())
        odd.append(window * phase.sin())
    filters = torch.stack(even + odd)[:, None]
    return filters / filters.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def _blur(x: torch.Tensor) -> torch.Tensor:
    """Binomial 3 x 3, edges repeated."""
    return _depthwise(F.pad(x, [1, 1, 1, 1], mode="replicate"), (1.0, 2.0, 1.0), 1)


def _halve(x: torch.Tensor) -> torch.Tensor:
    """Binomial 4 x 4, then every second pixel; (h, w) becomes (ceil h/2, ceil w/2)."""
    h, w = x.shape[2:]
    return _depthwise(F.pad(x, [1, 1 + w % 2, 1, 1 + h % 2], mode="replicate"), (1.0, 3.0, 3.0, 1.0), 2)


def _depthwise(x: torch.Tensor, taps: tuple[float, ...], stride: int) -> torch.Tensor:
    line = x.new_tensor(taps) / sum(taps)
    kernel = (line[:, None] * line).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(x, kernel, stride=stride, groups=x.shape[1])
