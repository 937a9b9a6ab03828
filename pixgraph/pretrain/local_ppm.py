"""Pixel propagation at full resolution: at some pixels only, from a neighbourhood of each."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from pixgraph.errors import ConfigError
from pixgraph.pretrain.neighbourhood import FORMS, neighbourhood
from pixgraph.pretrain.ppm import check_sharpness, sharpen, value_transform, weighted_sums

BLOCK = 2**22
"""Numbers of neighbours that are gathered at a time: 16 MB in float32."""


class LocalPropagation(nn.Module):
    """PixPro's propagation of sampled pixels i from their neighbourhood N(i).

        y_i = sum_{j in N(i)} max(cos(x_i, x_j), clamp)^gamma v_j,    v = g(x) / |g(x)|

    With a neighbourhood as large as the map this is `pixgraph.pretrain.ppm.PixelPropagation` at the same pixels; the
    parameters have the same names. Time goes with pixels times neighbours, memory with the size of the map alone.

    Args:
        channels: C of the map.
        layers: Layers of g, see `pixgraph.pretrain.ppm.value_transform`.
        gamma: Sharpness.
        clamp: Similarities below it count as it.
        form: "cell": fixed cells, as in the thesis; "window": around the pixel; "map": all pixels.
        reach: Side of a cell or window in pixels; see `neighbourhood`.
        normalise_values: Whether g(x) is scaled to length one.

    Raises:
        ConfigError: A setting that has no meaning.
    """

    def __init__(
        self,
        channels: int,
        layers: int = 1,
        gamma: float = 2.0,
        clamp: float = 0.0,
        form: str = "cell",
        reach: int = 16,
        normalise_values: bool = True,
    ) -> None:
        super().__init__()
        check_sharpness(gamma, clamp)
        if form not in FORMS:
            raise ConfigError(f"pixel.propagation is {form!r}; expected one of {', '.join(FORMS)}")
        self.transform = value_transform(channels, layers)
        self.gamma, self.clamp, self.form, self.reach = gamma, clamp, form, reach
        self.normalise_values = normalise_values

    def forward(self, x: torch.Tensor, image: torch.Tensor, pixel: torch.Tensor) -> torch.Tensor:
        """Propagated vectors of some pixels, of any length.

        Args:
            x: (B, C, H, W) map.
            image: (P,) int64 position in the batch.
            pixel: (P,) int64 pixel of that map, row by row.

        Returns:
            (P, C), float32 at least.
        """
        exact = torch.promote_types(x.dtype, torch.float32)
        values = self.transform(x)
        values = F.normalize(values, dim=1) if self.normalise_values else values
        unit, v = F.normalize(x.to(exact), dim=1).flatten(2), values.to(exact).flatten(2)  # (B, C, N)
        if self.form == "map":
            return self._from_map(unit, v, image, pixel)
        near, valid = neighbourhood(pixel, x.shape[2:], self.form, self.reach)
        offset = image * unit.shape[2]
        unit, v = (t.transpose(1, 2).flatten(0, 1) for t in (unit, v))  # (B N, C)
        return local_sums(unit, v, pixel + offset, near + offset[:, None], valid, self.gamma, self.clamp)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"form={self.form!r}, reach={self.reach}, gamma={self.gamma:g}, clamp={self.clamp:g}"

    def _from_map(self, unit: torch.Tensor, v: torch.Tensor, image: torch.Tensor, pixel: torch.Tensor) -> torch.Tensor:
        places, parts = [], []
        for b in range(len(unit)):
            places.append((image == b).nonzero()[:, 0])
            rows = unit[b : b + 1, :, pixel[places[-1]]]  # (1, C, R)
            sums = weighted_sums(rows, unit[b : b + 1], v[b : b + 1], self.gamma, self.clamp)
            parts.append(sums[0].T.to(v.dtype))  # autocast leaves half precision
        return torch.cat(parts)[torch.cat(places).argsort()]


def local_sums(
    unit: torch.Tensor,
    v: torch.Tensor,
    centre: torch.Tensor,
    near: torch.Tensor,
    valid: torch.Tensor,
    gamma: float,
    clamp: float,
) -> torch.Tensor:
    """sum_k max(u_{c_p}.u_{n_pk}, clamp)^gamma v_{n_pk} over the valid neighbours k of each centre p.

    Neighbours are gathered `BLOCK` numbers at a time, and again for the gradient: no more is ever held.

    Args:
        unit: (M, C) unit vectors.
        v: (M, D) values.
        centre: (P,) int64 rows.
        near: (P, K) int64 rows.
        valid: (P, K) bool; others add nothing.
        gamma: Sharpness.
        clamp: Similarities below it count as it.

    Returns:
        (P, D).
    """
    return _LocalSums.apply(unit, v, centre, near, valid, gamma, clamp)


class _LocalSums(torch.autograd.Function):
    """`local_sums`; its gradient adds into one array, where autograd would make one of the map's size a block."""

    @staticmethod
    def forward(
        ctx: Any,
        unit: torch.Tensor,
        v: torch.Tensor,
        centre: torch.Tensor,
        near: torch.Tensor,
        valid: torch.Tensor,
        gamma: float,
        clamp: float,
    ) -> torch.Tensor:
        """Sums (P, D) of the P centres."""
        ctx.save_for_backward(unit, v, centre, near, valid)
        ctx.sharpness = (gamma, clamp)
        out = v.new_zeros(len(centre), v.shape[1])
        with torch.autocast(unit.device.type, enabled=False):
            for part in _blocks(unit, v, near):
                similarity = torch.einsum("pc,pkc->pk", unit[centre[part]], unit[near[part]])
                weight = sharpen(similarity, gamma, clamp) * valid[part]
                out[part] = torch.einsum("pk,pkd->pd", weight, v[near[part]])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of `unit` and `v`, from `grad` (P, D); the similarities are computed once more."""
        unit, v, centre, near, valid = ctx.saved_tensors
        grad_unit, grad_v = torch.zeros_like(unit), torch.zeros_like(v)
        for part in _blocks(unit, v, near):
            rows, own, others = near[part].flatten(), unit[centre[part]], unit[near[part]]
            with torch.enable_grad():
                similarity = torch.einsum("pc,pkc->pk", own, others).requires_grad_()
                weight = sharpen(similarity, *ctx.sharpness) * valid[part]
            grad_weight = torch.einsum("pd,pkd->pk", grad[part], v[near[part]])
            (slope,) = torch.autograd.grad(weight, similarity, grad_weight)  # (p, K)
            grad_unit.index_add_(0, centre[part], torch.einsum("pk,pkc->pc", slope, others))
            grad_unit.index_add_(0, rows, (slope[..., None] * own[:, None]).flatten(0, 1))
            grad_v.index_add_(0, rows, (weight.detach()[..., None] * grad[part][:, None]).flatten(0, 1))
        return grad_unit, grad_v, None, None, None, None, None


def _blocks(unit: torch.Tensor, v: torch.Tensor, near: torch.Tensor) -> list[slice]:
    """Parts of the centres whose neighbours fit into a block."""
    size = max(1, BLOCK // max(1, near.shape[1] * max(unit.shape[1], v.shape[1])))
    return [slice(start, start + size) for start in range(0, len(near), size)]
