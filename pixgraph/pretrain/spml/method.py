"""SPML: an embedding trained by pixel-to-segment contrasts, and a pixel classifier on it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.data.base import IGNORE
from pixgraph.losses.term import Term, embedding_std
from pixgraph.pretrain.segmentation_network import SegmentationNetwork
from pixgraph.pretrain.spml import contrasts
from pixgraph.pretrain.spml.cells import labels_on_cells, regions_on_cells
from pixgraph.pretrain.spml.classifier import PixelClassifier, labelled_cross_entropy
from pixgraph.pretrain.spml.config import SPMLConfig
from pixgraph.pretrain.spml.contrasts import Pixels
from pixgraph.pretrain.spml.kmeans import located, spherical_kmeans
from pixgraph.pretrain.spml.memory import Known, MemoryBank
from pixgraph.pretrain.spml.relations import strengths
from pixgraph.pretrain.spml.segments import Segments, directions, split_segments


@dataclass(frozen=True)
class WeakBatch:
    """Crops of B pictures with what is annotated of them.

    Attributes:
        images: (B, 3, H, W) float32 in 0..1.
        labels: (B, H, W) int64: 0 .. C - 1, 254 where nobody annotated, 255 outside.
        regions: (B, H, W) int64 low-level region of each pixel; numbers mean nothing across pictures.
        tags: (B, C) bool: the classes of the whole pictures, as far as the annotation tells.
        index: (B,) int64 number of the picture.
    """

    images: torch.Tensor
    labels: torch.Tensor
    regions: torch.Tensor
    tags: torch.Tensor
    index: torch.Tensor

    def to(self, device: torch.device | str) -> WeakBatch:
        """The same batch on another device."""
        return WeakBatch(*(getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)))


class Labeller(SegmentationNetwork):
    """Network and classifier as one that gives logits and unit embeddings; its weights are theirs.

    Args:
        network: Gives the embedding.
        classifier: Of unit embeddings.
    """

    def __init__(self, network: SegmentationNetwork, classifier: PixelClassifier) -> None:
        super().__init__(network.name, network.pretrained_on, network.classes, network.embedding_channels)
        self.mean, self.std = network.mean, network.std  # on the network's device
        self.embedder, self.classifier = network, classifier

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, C, h, w) and unit embeddings (B, D, h, w) of pictures (B, 3, H, W) in 0..1, at stride 4."""
        unit = F.normalize(self.embedder(x)[1].float(), dim=1)
        return self.classifier(unit), unit


class SPML(nn.Module):
    """Embedding network, pixel classifier and memory bank (Ke et al., ICLR 2021).

    The loss is the sum of the contrasts of `relations`, each times its weight, and the classifier's cross entropy. The
    classifier sees embeddings without gradient, so that the contrasts alone form them, unless `spml.detach` is false.
    Without any contrast ("none") its gradient reaches the network: the same network and classifier trained on the same
    marks alone. In the original the weight of `sem_ann` multiplies the cross entropy, too, which there scales the
    classifier's learning rate only.

    Args:
        network: Gives the embedding; its own logits are not used.
        config: The run's configuration.
        background: Number of the background class, which is no tag; none: there is none.
    """

    def __init__(self, network: SegmentationNetwork, config: SPMLConfig, background: int | None = None) -> None:
        super().__init__()
        spml, classes = config.spml, network.classes
        self.network, self.spml, self.background = network, spml, background
        row = config.annotation if config.relations == "auto" else config.relations
        self.strengths = strengths(row, spml.weights(), spml.concentrations())
        network.layer = network.embedding_layer
        for name, part in network.named_children():
            if name == "classifier":
                part.requires_grad_(False)
        self.classifier = PixelClassifier(network.embedding_channels, spml.hidden, classes, spml.dropout)
        banked = {"sem_ann", "sem_occ", "feat_aff"} & self.strengths.keys()
        batches = spml.bank if banked else 0
        self.bank = MemoryBank(batches, spml.bank_segments, network.embedding_channels, classes)

    @property
    def classes(self) -> int:
        """Number of classes C."""
        return self.network.classes

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Unit embeddings (B, D, h, w) of pictures (B, 3, H, W) in 0..1, at stride 4."""
        return F.normalize(self.network(images)[1].float(), dim=1)

    def heads(self) -> list[nn.Parameter]:
        """All that is not the encoder: the network's other parts and the classifier."""
        encoder = {name for name, _ in self.network.named_parameters() if name.startswith("network.encoder.")}
        others = [p for name, p in self.network.named_parameters() if name not in encoder]
        return [*others, *self.classifier.parameters()]

    def labeller(self) -> Labeller:
        """What classifies pixels, in the mode of this module; it shares its weights."""
        return Labeller(self.network, self.classifier).train(self.training)

    def forward(self, batch: WeakBatch, seed: int) -> tuple[torch.Tensor, dict[str, float | torch.Tensor]]:
        """Loss of a batch, with gradients of network and classifier; in training mode the bank takes up its segments.

        Args:
            batch: Pictures and what is annotated of them.
            seed: Unused: nothing is drawn but dropout, from torch's own generator.

        Returns:
            A scalar, and numbers to log: each contrast beside its value for equal embeddings (``_chance``), the
            classifier's cross entropy beside ln C, the number of segments, ``labelled``, the share of them with a
            label, and the spread of the embeddings (0: all equal).
        """
        unit = self.embed(batch.images)
        size = (unit.shape[2], unit.shape[3])
        label = labels_on_cells(batch.labels, size, self.classes)
        with torch.autocast(unit.device.type, enabled=False):
            terms: dict[str, Term] = {}
            logs: dict[str, float | torch.Tensor] = {"classifier_chance": math.log(self.classes)}
            if self.strengths:
                segments, pixels = self._cut(unit, label, regions_on_cells(batch.regions, size))
                terms = self._contrasts(pixels, segments, batch.tags)
                logs |= self._logs(terms, segments)
                label = self._propagated(label, pixels, segments)
            seen = unit.detach() if self.strengths and self.spml.detach else unit
            entropy = labelled_cross_entropy(self.classifier(seen), label)
            loss = entropy + sum(self.strengths[name].weight * term.value for name, term in terms.items())
            spread = embedding_std(unit.flatten(2).transpose(1, 2).flatten(0, 1))
            return loss, {"classifier": entropy.detach(), **logs, "embedding_std": spread}

    def after_step(self, step: int, steps: int) -> dict[str, float]:
        """Nothing follows a step."""
        return {}

    def segment(self, unit: torch.Tensor, label: torch.Tensor, region: torch.Tensor | None) -> Segments:
        """The segments of unit embeddings (B, D, h, w) with labels and regions (B, h, w)."""
        rows, columns = self.spml.grid
        clusters = spherical_kmeans(unit, label != IGNORE, (rows, columns), self.spml.iterations)
        return split_segments(clusters, label, region)

    def _cut(self, unit: torch.Tensor, label: torch.Tensor, region: torch.Tensor) -> tuple[Segments, Pixels]:
        """The segments of a batch, and its pixels that are in one."""
        segments = self.segment(unit, label, region)
        inside = segments.id >= 0
        own, placed = (maps.permute(0, 2, 3, 1)[inside] for maps in (unit, located(unit)))
        return segments, Pixels(own, placed, segments.id[inside])

    def _contrasts(self, pixels: Pixels, segments: Segments, tags: torch.Tensor) -> dict[str, Term]:
        """The contrast of each relation; the bank takes up the segments."""
        own = self._known(pixels, segments, tags)
        known = own.joined(self.bank.segments())
        computed = {
            "sem_ann": lambda k: contrasts.annotation_contrast(pixels, known, self.classes, k),
            "sem_occ": lambda k: contrasts.co_occurrence_contrast(pixels, known, self._objects(tags), k),
            "img_sim": lambda k: contrasts.similarity_contrast(pixels, segments, k),
            "feat_aff": lambda k: contrasts.affinity_contrast(pixels, known, k),
        }
        terms = {name: computed[name](strength.concentration) for name, strength in self.strengths.items()}
        if self.training:
            self.bank.push(own)
        return terms

    def _logs(self, terms: dict[str, Term], segments: Segments) -> dict[str, float | torch.Tensor]:
        """Numbers to log of contrasts and segments."""
        logs: dict[str, float | torch.Tensor] = {}
        for name, term in terms.items():
            logs |= {name: term.value.detach(), f"{name}_chance": term.chance}
        count = len(segments.label)
        labelled = (segments.label < self.classes).float().mean() if count else 0.0
        return {**logs, "segments": count, "labelled": labelled}

    def _propagated(self, label: torch.Tensor, pixels: Pixels, segments: Segments) -> torch.Tensor:
        """The labels (B, h, w) that the classifier learns from."""
        if self.spml.propagate >= 1:
            return label
        inside = segments.id >= 0
        found = label.clone()
        found[inside] = contrasts.near_labels(pixels, segments, self.spml.propagate)[pixels.segment]
        return found

    def _known(self, pixels: Pixels, segments: Segments, tags: torch.Tensor) -> Known:
        """What the contrasts over several pictures need of the batch's segments."""
        if "feat_aff" in self.strengths:
            affinity = contrasts.affinity_tags(pixels, segments, self.classes)
        else:
            affinity = tags.new_zeros(len(segments.label), self.classes)
        direction = directions(pixels.unit, pixels.segment, len(segments.label))
        return Known(direction, segments.label, segments.image, self._objects(tags)[segments.image], affinity)

    def _objects(self, tags: torch.Tensor) -> torch.Tensor:
        """Tags without the background."""
        if self.background is None:
            return tags
        objects = tags.clone()
        objects[:, self.background] = False
        return objects
