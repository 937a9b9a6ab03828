"""Dense 4-D correlation in the manner of HSNet, untrained: what it costs to compare all cells with all cells.

Min, Kang and Cho, "Hypercorrelation Squeeze for Few-Shot Segmentation", ICCV 2021:

    C_l(q, s) = ReLU(cos(f_l(q), m(s) f_l(s)))                    for each layer l, query cell q, support cell s
    squeeze:  three centre-pivot 4-D convolutions a pyramid level, strided over the support alone, 16, 64, 128 channels
    mix:      from the coarsest level down: upsample the query side, add, three more at 128 channels
    decode:   mean over the support cells, 2-D convolutions with one upsampling by two, softmax over two classes

m is the support mask at the level's size. With K supports the whole is done K times and the answers vote. Written for
time and memory, from the paper and its published settings: nobody has trained it, its masks mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

SQUEEZE = (16, 64, 128)
GROUPS = 4
# Kernel sides and strides over the support, coarsest level first, as published for strides 32, 16 and 8.
BLOCKS = (((3, 3, 3), (2, 2, 2)), ((5, 3, 3), (4, 2, 2)), ((5, 5, 3), (4, 4, 2)))


class CentrePivotConv4d(nn.Module):
    """The two 2-D slices through the centre of a 4-D convolution: over the query at one support cell, and vice versa.

    Args:
        inputs: Channels that go in.
        outputs: Channels that come out.
        kernel: Side of the kernel in all four dimensions.
        stride: Of the support dimensions; the query keeps its size.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.query = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.support = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, hq, wq, hs, ws) to (B, C', hq, wq, ceil(hs / stride), ceil(ws / stride))."""
        kept = x[..., :: self.stride, :: self.stride]
        return over_query(self.query, kept) + over_support(self.support, x)


def over_query(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Apply a 2-D layer to the query dimensions at every support cell."""
    batch, channels, rows, columns, support_rows, support_columns = x.shape
    flat = x.permute(0, 4, 5, 1, 2, 3).reshape(-1, channels, rows, columns)
    done = layer(flat)
    return done.unflatten(0, (batch, support_rows, support_columns)).permute(0, 3, 4, 5, 1, 2)


def over_support(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Apply a 2-D layer to the support dimensions at every query cell."""
    batch, channels, rows, columns, support_rows, support_columns = x.shape
    flat = x.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels, support_rows, support_columns)
    return layer(flat).unflatten(0, (batch, rows, columns)).permute(0, 3, 1, 2, 4, 5)


def hypercorrelation(
    query: Sequence[torch.Tensor], support: Sequence[torch.Tensor], mask: torch.Tensor
) -> list[torch.Tensor]:
    """Correlations of every layer, stacked where layers have one size.

    Args:
        query: (C_l, h_l, w_l) a layer, finest first.
        support: The same of the support.
        mask: (H, W), 1 on the object.

    Returns:
        One (1, layers, h, w, h, w) a size, coarsest first, not negative.
    """
    found: dict[tuple[int, ...], list[torch.Tensor]] = {}
    for q, s in zip(query, support, strict=True):
        weight = F.interpolate(mask[None, None].float(), s.shape[-2:], mode="bilinear", align_corners=True)[0]
        a = F.normalize(q.flatten(1), dim=0)
        b = F.normalize((s * weight).flatten(1), dim=0)
        found.setdefault(tuple(q.shape[-2:]), []).append((a.T @ b).relu().view(*q.shape[-2:], *s.shape[-2:]))
    return [torch.stack(found[size])[None] for size in sorted(found)]


class DenseCorrelation(nn.Module):
    """Squeeze, mix and decode three levels of correlations.

    Args:
        layers: Layers of each level, coarsest level first: (3, 6, 4) of a ResNet-50 in the paper.
    """

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        last = SQUEEZE[-1]
        squeezed = zip(layers, BLOCKS, strict=True)
        self.squeeze = nn.ModuleList([_block((n, *SQUEEZE), kernels, strides) for n, (kernels, strides) in squeezed])
        self.mix = nn.ModuleList([_block((last,) * 4, (3, 3, 3), (1, 1, 1)) for _ in layers[1:]])
        self.decode = nn.ModuleList([_decoder(last, last, SQUEEZE[1]), _decoder(SQUEEZE[1], SQUEEZE[1], 2)])

    def encode(self, correlations: Sequence[torch.Tensor]) -> torch.Tensor:
        """(1, layers, h, w, h, w) a level, coarsest first, to (1, 128, h, w) of the finest."""
        mixed: torch.Tensor | None = None
        for level, (squeeze, x) in enumerate(zip(self.squeeze, correlations, strict=True)):
            fine = squeeze(x)
            if mixed is not None:
                fine = self.mix[level - 1](fine + _grown(mixed, fine.shape))
            mixed = fine
        if mixed is None:
            raise ValueError("no level of correlations")
        return mixed.flatten(4).mean(4)

    def logits(self, encoded: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """(1, 128, h, w) to (2, H, W): background and object."""
        x = F.interpolate(self.decode[0](encoded).relu(), scale_factor=2, mode="bilinear", align_corners=True)
        return F.interpolate(self.decode[1](x), size, mode="bilinear", align_corners=True)[0]

    def forward(
        self, query: Sequence[torch.Tensor], supports: Sequence[tuple[Sequence[torch.Tensor], torch.Tensor]]
    ) -> torch.Tensor:
        """Share of the supports that vote for the object: (H, W) of the masks' size.

        Args:
            query: (C_l, h_l, w_l) a layer, finest first.
            supports: For each its layers and its mask (H, W).
        """
        votes = []
        for maps, mask in supports:
            encoded = self.encode(hypercorrelation(query, maps, mask))
            votes.append(self.logits(encoded, (mask.shape[0], mask.shape[1])).argmax(0))
        return torch.stack(votes).float().mean(0)


def three_levels(maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The maps of the three coarsest sizes, as the network takes them."""
    sizes = sorted({m.shape[-1] for m in maps})[: len(BLOCKS)]
    return [m for m in maps if m.shape[-1] in sizes]


def layers_of(maps: Sequence[torch.Tensor]) -> list[int]:
    """How many maps there are of each size, coarsest first."""
    sizes = [m.shape[-1] for m in maps]
    return [sizes.count(size) for size in sorted(set(sizes))]


def _block(channels: Sequence[int], kernels: Sequence[int], strides: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
        layers += [CentrePivotConv4d(channels[i], channels[i + 1], kernel, stride)]
        layers += [nn.GroupNorm(GROUPS, channels[i + 1]), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _decoder(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    first, last = nn.Conv2d(inputs, hidden, 3, padding=1), nn.Conv2d(hidden, outputs, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), last)


def _grown(x: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The query side at the size of a finer level; the support side at that level's, where they differ."""
    rows, columns, support = shape[2], shape[3], shape[4:]
    large = over_query(nn.Upsample((rows, columns), mode="bilinear", align_corners=True), x)
    if large.shape[4:] == support:
        return large
    return over_support(nn.Upsample(tuple(support), mode="bilinear", align_corners=True), large)
