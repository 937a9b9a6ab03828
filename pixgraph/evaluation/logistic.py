"""Multinomial logistic regression by L-BFGS, small enough for one fit an episode.

`torch.optim.LBFGS` would do, but the first optimiser that a process makes imports torch's compiler, which takes
seconds and a hundred megabytes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Objective = Callable[[torch.Tensor], tuple[float, torch.Tensor]]
Pair = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def fit_softmax(x: torch.Tensor, target: torch.Tensor, penalty: float, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimise - sum_sm t_sm log softmax(W x_s + b)_m + penalty/2 |W|^2 from zero.

    The gradient is written out, so that this also works where autograd is switched off.

    Args:
        x: (S, C) features.
        target: (S, M) non-negative mass of each class in each row.
        penalty: Weight of the squared norm of W, > 0.
        steps: Most iterations.

    Returns:
        W (M, C) and b (M,).
    """
    # Classes first: BLAS is several times faster on a wide and low product than on a narrow and tall one.
    target = target.T.contiguous()  # (M, S)
    mass = target.sum(0)  # (S,)

    def loss_and_gradient(parameters: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Penalised negative log-likelihood of (M, C + 1) weights and bias, and its gradient."""
        weight, bias = parameters[:, :-1].contiguous(), parameters[:, -1:]
        log_p = (weight @ x.T + bias).log_softmax(dim=0)  # (M, S)
        slope = log_p.exp() * mass - target
        loss = float(penalty / 2 * weight.square().sum() - (target * log_p).sum())
        return loss, torch.cat([slope @ x + penalty * weight, slope.sum(1, keepdim=True)], dim=1)

    parameters = _lbfgs(loss_and_gradient, x.new_zeros(len(target), x.shape[1] + 1), steps)
    return parameters[:, :-1].contiguous(), parameters[:, -1]


def _lbfgs(function: Objective, start: torch.Tensor, steps: int, memory: int = 8) -> torch.Tensor:
    """Minimise a smooth convex function (Nocedal and Wright, algorithm 7.5, with backtracking)."""
    point = start
    value, gradient = function(point)
    pairs: list[Pair] = []  # change of point, of gradient, 1 / inner product
    for _ in range(steps):
        direction = -_inverse_hessian(gradient, pairs)
        slope = float((gradient * direction).sum())
        if slope > -1e-10:
            break
        length = 1.0
        for _ in range(20):
            new_value, new_gradient = function(point + length * direction)
            if new_value <= value + 1e-4 * length * slope:
                break
            length /= 2
        else:
            break
        moved, turned = length * direction, new_gradient - gradient
        point, value, gradient = point + moved, new_value, new_gradient
        curvature = (moved * turned).sum()
        if curvature > 0:
            pairs = [*pairs[1 - memory :], (moved, turned, 1 / curvature)]
    return point


def _inverse_hessian(gradient: torch.Tensor, pairs: list[Pair]) -> torch.Tensor:
    """The two-loop recursion: the approximate inverse Hessian times the gradient."""
    if not pairs:
        return gradient
    q, coefficients = gradient, []
    for moved, turned, inverse in reversed(pairs):
        coefficients.append(inverse * (moved * q).sum())
        q = q - coefficients[-1] * turned
    moved, turned, inverse = pairs[-1]
    q = q / (inverse * turned.square().sum())
    for (moved, turned, inverse), coefficient in zip(pairs, reversed(coefficients), strict=True):
        q = q + moved * (coefficient - inverse * (turned * q).sum())
    return q
