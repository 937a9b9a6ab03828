"""The contrasts of the four relations, on the pixels and segments of a batch and those of the memory bank."""

from __future__ import annotations

from typing import NamedTuple

import torch

from pixgraph.data.base import UNLABELLED
from pixgraph.losses.segsort import class_relation, segsort, set_relation
from pixgraph.losses.term import Term, mean_term
from pixgraph.pretrain.spml.memory import Known
from pixgraph.pretrain.spml.segments import Segments, directions

SURE = 0.95
"""Cosine, with location, from which an unlabelled segment takes the label of a labelled one of its picture."""


class Pixels(NamedTuple):
    """The N pixels of a batch that take part.

    Attributes:
        unit: (N, D) unit embeddings.
        located: (N, D + 2) unit vectors of embedding and location.
        segment: (N,) int64 segment of each.
    """

    unit: torch.Tensor
    located: torch.Tensor
    segment: torch.Tensor


def annotation_contrast(pixels: Pixels, known: Known, classes: int, concentration: float) -> Term:
    """Labelled pixels against labelled segments of the batch and the bank: same or other class.

    Args:
        pixels: Of the batch.
        known: Its segments first, then the bank's.
        classes: Number of classes C.
        concentration: See `segsort`.
    """
    label = known.label[pixels.segment]
    kept = label < classes
    relation = class_relation(known.label, classes)
    unit, own = pixels.unit[kept], pixels.segment[kept]
    return segsort(unit, known.direction, own, label[kept], relation, concentration)


def co_occurrence_contrast(pixels: Pixels, known: Known, tags: torch.Tensor, concentration: float) -> Term:
    """All pixels against all segments of the batch and the bank: pictures share a tag, or none.

    Pictures without a tag, which show background alone, take no part.

    Args:
        pixels: Of the batch.
        known: Its segments first, then the bank's.
        tags: (B, C) bool: those of the batch's pictures, without the background.
        concentration: See `segsort`.
    """
    relation = set_relation(tags, known.tags)
    return segsort(pixels.unit, known.direction, pixels.segment, known.image[pixels.segment], relation, concentration)


def similarity_contrast(pixels: Pixels, segments: Segments, concentration: float) -> Term:
    """The pixels of each picture against its own segments, with location: same or other low-level region.

    Args:
        pixels: Of the batch.
        segments: Of the batch.
        concentration: See `segsort`.

    Returns:
        The mean over the pictures.
    """
    direction = directions(pixels.located, pixels.segment, len(segments.label))
    counts = torch.bincount(segments.image[pixels.segment]).tolist()
    terms, first = [], 0
    image = segments.image[pixels.segment]
    for picture in range(len(counts)):
        if not counts[picture]:
            continue
        inside, columns = image == picture, segments.image == picture
        count = int(columns.sum())  # a picture's segments follow each other
        _, group = segments.region[columns].unique(return_inverse=True)
        relation = torch.where(group == torch.arange(int(group.max()) + 1, device=group.device)[:, None], 1, -1)
        own = pixels.segment[inside] - first
        near = direction[first : first + count]
        terms.append(segsort(pixels.located[inside], near, own, group[own], relation.to(torch.int8), concentration))
        first += count
    return mean_term(terms) if terms else Term(pixels.located.sum() * 0.0, 0.0)


def affinity_contrast(pixels: Pixels, known: Known, concentration: float) -> Term:
    """All pixels against all segments of the batch and the bank: their tags by `affinity_tags` meet, or do not.

    Args:
        pixels: Of the batch.
        known: Its segments first, then the bank's.
        concentration: See `segsort`.
    """
    sets, group = known.affinity.unique(dim=0, return_inverse=True)
    relation = set_relation(sets, known.affinity)
    return segsort(pixels.unit, known.direction, pixels.segment, group[pixels.segment], relation, concentration)


@torch.no_grad()
def affinity_tags(pixels: Pixels, segments: Segments, classes: int) -> torch.Tensor:
    """The tags of each segment of a batch by feature affinity.

    A segment that `near_labels` gives a label has that one tag; any other has all tags.

    Args:
        pixels: Of the batch.
        segments: Of the batch.
        classes: Number of classes C.

    Returns:
        (S, C) bool.
    """
    label = near_labels(pixels, segments, SURE)
    tags = label[:, None] == torch.arange(classes, device=label.device)
    tags[label >= UNLABELLED] = True
    return tags


@torch.no_grad()
def near_labels(pixels: Pixels, segments: Segments, sure: float) -> torch.Tensor:
    """The label of each segment, or of the labelled one of its picture that is nearest to it.

    Args:
        pixels: Of the batch.
        segments: Of the batch.
        sure: Smallest cosine of the directions, with location, at which an unlabelled segment takes over a label.

    Returns:
        (S,) int64 class, or 254.
    """
    direction = directions(pixels.located, pixels.segment, len(segments.label))
    labelled, label = segments.label < UNLABELLED, segments.label.clone()
    if labelled.any() and not labelled.all():
        cosine = direction[~labelled] @ direction[labelled].T
        cosine.masked_fill_(segments.image[~labelled][:, None] != segments.image[labelled], -torch.inf)
        best, place = cosine.max(1)
        label[~labelled] = torch.where(best >= sure, segments.label[labelled][place], UNLABELLED)
    return label
