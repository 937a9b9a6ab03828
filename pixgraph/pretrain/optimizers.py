"""Optimisers of a pretraining: AdamW, SGD, or LARS as the papers use it for large batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from pixgraph.errors import DependencyError
from pixgraph.pretrain.config import OptimConfig

MOMENTUM = 0.9
TRUST = 0.001
"""LARS: You, Gitman and Ginsburg, Large Batch Training of Convolutional Networks, 2017; PixPro uses this ratio."""


def parameter_groups(
    network: nn.Module, weight_decay: float, scaled: Iterable[nn.Parameter] = (), scale: float = 1.0
) -> list[dict[str, object]]:
    """Trained parameters in two groups: matrices and kernels, and biases and norms, which do not decay.

    Args:
        network: Those of its parameters that have no gradient, as a target's, are left out.
        weight_decay: Decay of the first group.
        scaled: Parameters whose learning rate is multiplied; they make two more groups, with ``lr_scale``.
        scale: The factor.
    """
    others = {id(p) for p in scaled} if scale != 1 else set()
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = _by_decay([p for p in trained if id(p) not in others], weight_decay)
    if others:
        faster = _by_decay([p for p in trained if id(p) in others], weight_decay)
        groups += [{**group, "lr_scale": scale} for group in faster]
    return groups


def build_optimizer(
    network: nn.Module, config: OptimConfig, scaled: Iterable[nn.Parameter] = (), scale: float = 1.0
) -> torch.optim.Optimizer:
    """The optimiser that a configuration names.

    Args:
        network: What is trained.
        config: The optimisation.
        scaled: See `parameter_groups`.
        scale: See `parameter_groups`.

    Raises:
        DependencyError: LARS is asked for and timm is not installed.
    """
    groups = parameter_groups(network, config.weight_decay, scaled, scale)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=MOMENTUM)
    try:
        from timm.optim.lars import Lars
    except ImportError as error:
        raise DependencyError(
            "optim.optimizer lars needs timm: pip install 'pixgraph[timm]', or take --optim.optimizer adamw or sgd"
        ) from error
    return Lars(groups, lr=config.lr, momentum=MOMENTUM, trust_coeff=TRUST)


def _by_decay(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
