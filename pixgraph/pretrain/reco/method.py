"""ReCo's training step: supervised loss, loss on mixed pseudo labels, and regional contrast (Liu et al. 2022)."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import nn

from pixgraph.data.base import UNLABELLED
from pixgraph.losses.reco import RecoTerm, reco_loss
from pixgraph.pretrain.labelled_source import LabelledBatch, RecoBatch
from pixgraph.pretrain.labelled_views import strong_views
from pixgraph.pretrain.mixing import LabelledMaps
from pixgraph.pretrain.reco.config import RecoConfig, own_statistics
from pixgraph.pretrain.reco.pseudo import pseudo_labels, supervised_loss, unsupervised_loss
from pixgraph.pretrain.reco.seen import Seen, labelled_cells, pseudo_cells
from pixgraph.pretrain.reco.teacher import Teacher
from pixgraph.pretrain.segmentation_network import SegmentationNetwork

Logs = dict[str, "float | torch.Tensor"]
_MIXING = 0x3EC0
"""Stream of the random choices of the strong views."""


class ReCo(nn.Module):
    """Student and teacher on labelled pictures, and on others with the teacher's labels.

    The loss is ``L_supervised + w_u L_unsupervised + w_r L_reco``. The teacher labels the pictures as they are; the
    student sees them scaled, mixed, mirrored and in other colours, and labels and confidences go the same way.

    Args:
        student: The network that learns; trained in place.
        config: The run's configuration.
    """

    def __init__(self, student: SegmentationNetwork, config: RecoConfig) -> None:
        super().__init__()
        self.config = config
        self.student = student
        student.layer = None if config.reco else student.logits_layer
        teacher = config.teacher
        buffers = not own_statistics(config) if teacher.buffers is None else teacher.buffers
        self.teacher = Teacher(student, teacher.decay, teacher.mode, buffers)

    @property
    def network(self) -> SegmentationNetwork:
        """What is scored and kept of the training: the teacher's network."""
        return cast("SegmentationNetwork", self.teacher.network)

    def forward(self, batch: RecoBatch | LabelledBatch, seed: int) -> tuple[torch.Tensor, Logs]:
        """Loss of a batch, with gradients of the student.

        Args:
            batch: Labelled pictures, and others to label where there are any.
            seed: Of everything random in the step, together with the numbers of the labelled pictures.

        Returns:
            A scalar, and numbers to log: each loss, beside its value for a network that knows nothing (``_chance``);
            ``sure``: share of the pseudo labels above `pseudo.conf_thresh`; ``skipped``: classes without a hard pixel.
        """
        own = self.config
        labelled = batch if isinstance(batch, LabelledBatch) else batch.labelled
        # Other parts of the step, here or in other processes, have other pictures and draw otherwise.
        seed = int(np.random.SeedSequence([seed, *labelled.index.tolist()]).generate_state(1)[0])
        # First, for its memory is free again afterwards.
        pseudo = None if isinstance(batch, LabelledBatch) else self.pseudo(batch, seed)
        logits, embedding = self.student(labelled.images)
        loss = supervised_loss(logits, labelled.labels)
        logs: Logs = {"supervised": loss.detach(), "supervised_chance": math.log(self.student.classes)}
        seen = [labelled_cells(logits, embedding, labelled.labels)] if own.reco else []
        if pseudo is not None:
            logits, embedding = self.student(pseudo.images)
            labels = pseudo.labels.masked_fill(pseudo.confidences < own.pseudo.pixel_threshold, UNLABELLED)
            term, eta = unsupervised_loss(logits, labels, pseudo.confidences, own.pseudo.conf_thresh)
            loss = loss + own.pseudo.weight * term
            logs |= {"unsupervised": term.detach(), "sure": eta.mean()}
            if own.reco:
                least = own.pseudo.weak_threshold
                seen.append(pseudo_cells(logits, embedding, pseudo.labels, pseudo.confidences, least))
        if own.reco:
            contrast = self.contrast(seen, seed)
            loss = loss + own.contrast.weight * contrast.value
            logs |= {"reco": contrast.value.detach(), "reco_chance": contrast.chance, "skipped": contrast.skipped}
        return loss, logs

    @torch.no_grad()
    def pseudo(self, batch: RecoBatch, seed: int) -> LabelledMaps:
        """The unlabelled pictures with the teacher's labels, as the student sees them."""
        others = batch.unlabelled
        maps = pseudo_labels(others.images, self.teacher(others.images)[0], others.labels)
        return strong_views(maps, self.config.views, self.config.mixing, np.random.default_rng([seed, _MIXING]))

    def contrast(self, seen: list[Seen], seed: int) -> RecoTerm:
        """Regional contrast over all cells that take part."""
        settings = self.config.contrast
        embedding, label, valid, probability = (torch.cat(parts) for parts in zip(*seen, strict=True))
        return reco_loss(
            embedding,
            label,
            valid,
            probability,
            generator=torch.Generator(embedding.device).manual_seed(seed),
            temperature=settings.temperature,
            num_queries=settings.num_queries,
            num_negatives=settings.num_negatives,
            strong_threshold=settings.threshold,
        )

    def after_step(self, step: int, steps: int) -> dict[str, float]:
        """Let the teacher follow; gives the share of its weights that it kept.

        Args:
            step: Step that the optimiser has just made, 0 .. steps - 1.
            steps: Of the whole run.
        """
        del steps
        return {"momentum": self.teacher.follow_step(self.student, step)}
