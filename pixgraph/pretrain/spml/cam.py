"""Class-activation maps from image tags: where in a picture the evidence for each of its tags is.

A map of features X (F, h, w) is averaged over the picture, and a logistic regression tells each tag from the average;
by linearity its score is the mean over the picture of the map w_c . X + b_c, the class-activation map of Zhou et al.
(CVPR 2016). With the offset b_c the map is positive only where the classifier would say so of a whole picture: without
it maps cover far more than the object. The features are frozen, so that the fit is convex, and the same pictures always
give the same maps. SPML trains SEAM, a network of its own, for this step: its figures are not those of these maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pixgraph.errors import DataError

BACKGROUND_POWER = 6.0
"""Exponent of the background's score, as in SPML."""
PENALTY = 1e-2
STEPS = 100


@dataclass(frozen=True)
class TagClassifier:
    """A logistic regression of averaged features for each tag.

    Attributes:
        weight: (C, F) of standardised features; zero for a class that every picture shows, or none.
        bias: (C,).
        mean: (F,) of the averaged features of the training pictures.
        deviation: (F,).
    """

    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    deviation: torch.Tensor

    def __repr__(self) -> str:
        return f"TagClassifier(classes={len(self.weight)}, features={len(self.mean)})"

    def scores(self, pooled: torch.Tensor) -> torch.Tensor:
        """Logits (N, C) of averaged features (N, F)."""
        return (pooled - self.mean) / self.deviation @ self.weight.T + self.bias

    def maps(self, features: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        """The class-activation maps of a picture, each between 0 and 1.

        Args:
            features: (F, h, w).
            tags: (C,) bool; the maps of other classes are zero.

        Returns:
            (C, h, w) float32: the positive part of w_c . x + b_c over its largest value; one that is positive nowhere
            is 0.
        """
        positive = F.relu(self.scores(features.flatten(1).T)).T * tags[:, None].to(features)  # (C, h * w)
        largest = positive.amax(1, keepdim=True)
        return (positive / largest.clamp_min(1e-12)).unflatten(1, tuple(features.shape[1:]))


def fit_tags(
    pooled: torch.Tensor, tags: torch.Tensor, background: int | None = None, penalty: float = PENALTY
) -> TagClassifier:
    """The classifier of the tags.

    Args:
        pooled: (N, F) features averaged over each picture.
        tags: (N, C) bool.
        background: Class that is no tag; none: there is none.
        penalty: Weight of the squared norm of the weights; the loss is a mean over the pictures, with pictures with
            and without a tag counting alike.

    Raises:
        DataError: No tag tells pictures apart: each is on all of them or on none.
    """
    told = tags.any(0) & ~tags.all(0)
    if background is not None:
        told[background] = False
    if not told.any():
        raise DataError(
            f"tags: got {len(tags)} pictures, and every class is on all of them or on none; expected a class that some"
            " show and others do not: take other pictures, or points, scribbles or boxes"
        )
    deviation, mean = torch.std_mean(pooled, 0, correction=0)
    deviation = deviation + 0.1 * deviation.mean() + 1e-6
    x, target = (pooled - mean) / deviation, tags[:, told].to(pooled)
    share = target.mean(0)
    balance = target / (2 * share) + (1 - target) / (2 * (1 - share))  # (N, told)
    weight = x.new_zeros(target.shape[1], x.shape[1]).requires_grad_()
    bias = x.new_zeros(target.shape[1]).requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        """Loss and gradients."""
        optimizer.zero_grad()
        logits = x @ weight.T + bias
        entropy = F.binary_cross_entropy_with_logits(logits, target, weight=balance, reduction="sum") / len(x)
        loss = entropy + penalty * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    full = x.new_zeros(tags.shape[1], x.shape[1])
    full[told] = weight.detach()
    offset = x.new_zeros(tags.shape[1])
    offset[told] = bias.detach()
    return TagClassifier(full, offset, mean, deviation)


def with_background(maps: torch.Tensor, background: int | None) -> torch.Tensor:
    """Class-activation maps (C, h, w) with the score (1 - max_c CAM_c)^6 as that of the background, where there is one.

    Example:
        >>> with_background(torch.tensor([[[0.0, 0.0]], [[1.0, 0.5]]]), 0)[0].tolist()
        [[0.0, 0.015625]]
    """
    if background is None:
        return maps
    objects = maps.clone()
    objects[background] = 0
    full = objects.clone()
    full[background] = (1 - objects.amax(0)).clamp_min(0) ** BACKGROUND_POWER
    return full
