"""Batch normalisation over the pictures of all processes, also on CPUs, where torch has none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce

from pixgraph.errors import ConfigError

T = TypeVar("T", bound=nn.Module)

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@contextmanager
def enough_to_normalise(pixels: torch.Tensor, name: str) -> Iterator[None]:
    """Say what to do where a network cannot normalise, because it has a single value a channel.

    Args:
        pixels: (B, 3, H, W) the pictures of its forward pass.
        name: The network.

    Raises:
        ConfigError: One picture alone, in training, at a map of a single cell.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        count, _, height, width = pixels.shape
        raise ConfigError(
            f"batch normalisation got one value a channel: a batch of {count} picture of {height} x {width} "
            f"pixels at a map of one cell of {name}; take a larger optim.batch (or fewer optim.accumulate), or a "
            "larger views.size"
        ) from error


class SharedBatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` whose batch statistics in training are those of all processes together.

    The sums are taken in float32 by an all-reduce that gradients pass through, so that several processes give what one
    gives on the whole batch. Maps may have any number of dimensions from 2 on: (B, C, ...).
    """

    def _check_input_dim(self, x: torch.Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f"SharedBatchNorm: got a tensor of shape {tuple(x.shape)}, expected (B, C, ...)")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised maps of the shape of `x` (B, C, ...)."""
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        self._check_input_dim(x)
        dims = [0, *range(2, x.dim())]
        shape = (1, -1, *[1] * (x.dim() - 2))
        wide = x.float()
        count = wide.new_full((1,), x.numel() / x.shape[1])
        total = all_reduce(torch.cat([wide.sum(dims), count]))
        mean = total[:-1] / total[-1]
        # A second pass: squares of differences lose no digits where the mean is large.
        spread = all_reduce((wide - mean.view(shape)).square().sum(dims))
        variance = spread / total[-1]
        self._follow(mean.detach(), variance.detach() * total[-1].detach() / (total[-1].detach() - 1).clamp_min(1))
        y = (wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Move the running statistics."""
        if self.running_mean is None or self.running_var is None:
            return
        cast(torch.Tensor, self.num_batches_tracked).add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(cast(torch.Tensor, self.num_batches_tracked))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def share_batch_norm(network: nn.Module) -> nn.Module:
    """Replace every batch normalisation below `network`; parameters and buffers stay the same tensors.

    On CUDA `torch.nn.SyncBatchNorm` takes their place, elsewhere `SharedBatchNorm`.

    Args:
        network: Changed in place; itself no batch normalisation.

    Returns:
        `network`.
    """
    for name, child in network.named_children():
        if not isinstance(child, _NORMS) or isinstance(child, SharedBatchNorm):
            share_batch_norm(child)
            continue
        on_gpu = next((p.is_cuda for p in [*child.parameters(), *child.buffers()]), False)
        setattr(network, name, nn.SyncBatchNorm.convert_sync_batchnorm(child) if on_gpu else _shared(child))
    return network


def _shared(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> SharedBatchNorm:
    new = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    if norm.affine:
        new.weight, new.bias = norm.weight, norm.bias
    new.running_mean, new.running_var = norm.running_mean, norm.running_var
    new.num_batches_tracked = norm.num_batches_tracked
    return new.train(norm.training)


def placed(network: T, device: torch.device, processes: int) -> T:
    """A network on its device, with batch statistics shared where there are several processes; changed in place."""
    network.to(device)
    if processes > 1:
        share_batch_norm(network)
    return network
