"""Pseudo labels of a teacher, and the losses of labelled and of pseudo-labelled pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.pretrain.mixing import LabelledMaps


def pseudo_labels(images: torch.Tensor, logits: torch.Tensor, known: torch.Tensor) -> LabelledMaps:
    """The likeliest class of each pixel and its probability, and what is known instead where something is.

    Args:
        images: (B, 3, H, W) that the teacher saw.
        logits: (B, C, h, w) of the teacher; interpolated to the pictures' size.
        known: (B, H, W) int64: annotated classes, taken over with confidence 1; 254: the teacher's; 255: ignored, with
            confidence 0.
    """
    confidence, label = _resized(logits, images.shape[2:]).softmax(1).max(1)
    label = torch.where(known == UNLABELLED, label, known)
    confidence = torch.where(known == UNLABELLED, confidence, (known < UNLABELLED).to(confidence))
    return LabelledMaps(images, label, confidence)


def supervised_loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the annotated pixels; zero, with gradient zero, where there are none.

    Args:
        logits: (B, C, h, w); interpolated to the label's size.
        label: (B, H, W) int64: class, 254 or 255.
    """
    losses = _losses(logits, label)
    return losses.sum() / (label < UNLABELLED).sum().clamp(min=1)


def unsupervised_loss(
    logits: torch.Tensor, label: torch.Tensor, confidence: torch.Tensor, threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy with pseudo labels, each picture weighted by how much of it the teacher is sure about (ReCo).

    With eta_b = #(confidence >= threshold) / #(valid) of picture b, the mean of eta_b times the cross-entropy over the
    pixels where it is above zero.

    Args:
        logits: (B, C, h, w) of the student; interpolated to the label's size.
        label: (B, H, W) int64 pseudo labels; 254 and 255 are not valid.
        confidence: (B, H, W) in 0..1.
        threshold: See above.

    Returns:
        The loss, zero with gradient zero where nothing is valid; and eta (B,).
    """
    valid = label < UNLABELLED
    sure = (valid & (confidence >= threshold)).sum((1, 2))
    eta = sure / valid.sum((1, 2)).clamp(min=1)
    weighted = eta[:, None, None] * _losses(logits, label)
    return weighted.sum() / (weighted > 0).sum().clamp(min=1), eta


def _losses(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross-entropy (B, H, W), 0 where there is no class."""
    target = torch.where(label < UNLABELLED, label, IGNORE)
    return F.cross_entropy(_resized(logits, label.shape[1:]), target, ignore_index=IGNORE, reduction="none")


def _resized(logits: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return F.interpolate(logits.float(), tuple(size), mode="bilinear", align_corners=False)
