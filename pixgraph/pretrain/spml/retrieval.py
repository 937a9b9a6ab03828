"""Inference by segment retrieval: a segment takes the class that most of its nearest training segments have.

Pictures are cut by `spherical_kmeans` into finer segments than in training (12 x 12 in SPML). Those of the training
pictures that hold annotated pixels make a bank: the direction of each, and the class that most of its annotated pixels
have. A segment of another picture asks for its 20 nearest by cosine, by FAISS, and the majority decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import DataError
from pixgraph.graph.neighbours import nearest_neighbours
from pixgraph.graph.segments import majority
from pixgraph.pretrain.spml.cells import labels_on_cells
from pixgraph.pretrain.spml.kmeans import spherical_kmeans
from pixgraph.pretrain.spml.scoring import as_picture
from pixgraph.pretrain.spml.segments import directions

GRID = (12, 12)
"""Rows and columns of clusters in a picture, as in SPML at test time."""
ITERATIONS = 10
NEIGHBOURS = 20
"""Training segments that vote, as in SPML."""

Embed = Callable[[torch.Tensor], torch.Tensor]
"""From pictures (B, 3, H, W) in 0..1 to unit embeddings (B, D, h, w)."""
Labels = Callable[[int], np.ndarray]
"""From the number of a picture to its labels (H, W) uint8: classes, 254, 255."""


class Cut(NamedTuple):
    """The segments of a picture.

    Attributes:
        where: (h, w) int64 segment of each cell of the embedding, 0..S - 1.
        direction: (S, D) float32 of unit length.
    """

    where: torch.Tensor
    direction: torch.Tensor


class SegmentBank(NamedTuple):
    """Labelled segments of training pictures.

    Attributes:
        direction: (M, D) float32 of unit length.
        label: (M,) int64 classes 0..C - 1.
        picture: (M,) int64 number of the picture.
        segment: (M,) int64 number of the segment in its picture.
    """

    direction: torch.Tensor
    label: torch.Tensor
    picture: torch.Tensor
    segment: torch.Tensor


class Answers(NamedTuple):
    """What the bank answers Q segments.

    Attributes:
        label: (Q,) int64 class of the majority; at a tie that of the nearest among the tied.
        nearest: (Q, k) int64 rows of the bank, nearest first.
        cosine: (Q, k) float32.
    """

    label: torch.Tensor
    nearest: torch.Tensor
    cosine: torch.Tensor


def cut_picture(unit: torch.Tensor, grid: tuple[int, int] = GRID, iterations: int = ITERATIONS) -> Cut:
    """The segments of one picture with unit embeddings (D, h, w); clusters that lost all their cells are left out."""
    clusters = spherical_kmeans(unit[None], None, grid, iterations)[0]
    found, where = clusters.unique(return_inverse=True)
    vectors = unit.permute(1, 2, 0).flatten(0, 1).float()
    return Cut(where, directions(vectors, where.flatten(), len(found)))


def segment_labels(cut: Cut, label: np.ndarray, classes: int) -> torch.Tensor:
    """The class that most annotated cells of each segment have: (S,) int64; 255 where none is annotated.

    Args:
        cut: The segments.
        label: (H, W) labels of the picture: classes, 254, 255.
        classes: Number of classes C.
    """
    size = (cut.where.shape[0], cut.where.shape[1])
    cells = labels_on_cells(torch.from_numpy(label.astype(np.int64))[None], size, classes)[0]
    return torch.from_numpy(majority(cells.numpy(), cut.where.cpu().numpy(), len(cut.direction)))


def vote(bank: SegmentBank, direction: torch.Tensor, classes: int, neighbours: int = NEIGHBOURS) -> Answers:
    """The majority among the nearest segments of the bank.

    Args:
        bank: At least one segment.
        direction: (Q, D) unit vectors that ask.
        classes: Number of classes C.
        neighbours: How many vote; of a smaller bank all.
    """
    nearest, distance = nearest_neighbours(
        bank.direction, neighbours, queries=direction, exclude_self=False, metric="cosine"
    )
    label = bank.label[nearest]  # (Q, k)
    ways = torch.arange(classes, device=label.device)
    votes = (label[:, :, None] == ways).sum(1)  # (Q, C)
    rank = torch.arange(label.shape[1], device=label.device)[None, :, None]
    first = torch.where(label[:, :, None] == ways, rank, label.shape[1]).amin(1)  # (Q, C) place of the nearest
    score = votes * (label.shape[1] + 1) - first
    return Answers(score.argmax(1), nearest, 1 - distance)


class SegmentRetrieval:
    """A classifier of pixels that has no weights but a bank of segments.

    Args:
        embed: The frozen embedding, in evaluation mode.
        classes: Number of classes C.
        grid: Rows and columns of clusters in a picture.
        neighbours: Training segments that vote.
        device: Where to compute.
    """

    def __init__(
        self,
        embed: Embed,
        classes: int,
        grid: tuple[int, int] = GRID,
        neighbours: int = NEIGHBOURS,
        device: torch.device | str = "cpu",
    ) -> None:
        self.embed, self.classes, self.grid, self.neighbours = embed, classes, grid, neighbours
        self.device = torch.device(device)
        self.bank: SegmentBank | None = None

    def __repr__(self) -> str:
        size = 0 if self.bank is None else len(self.bank.label)
        return f"SegmentRetrieval(classes={self.classes}, grid={self.grid}, bank={size} segments)"

    @torch.no_grad()
    def cut(self, images: torch.Tensor) -> list[Cut]:
        """The segments of pictures (B, 3, H, W) in 0..1."""
        return [cut_picture(unit, self.grid) for unit in self.embed(images.to(self.device))]

    def remember(self, split: SemanticSplit, indices: Iterable[int], labels: Labels, short_side: int = 0) -> None:
        """Fill the bank.

        Args:
            split: Gives the pictures.
            indices: Which of them.
            labels: What is known of each; full masks, or the marks of a weak annotation.
            short_side: Pictures are shrunk to it first; 0: they stay as they are.

        Raises:
            DataError: No picture holds an annotated pixel, or a file is missing or broken.
        """
        parts = []
        for index in indices:
            (cut,) = self.cut(as_picture(split.read_image(index), short_side))
            label = segment_labels(cut, labels(index), self.classes).to(cut.direction.device)
            kept = torch.nonzero(label != IGNORE)[:, 0]
            picture = torch.full_like(kept, index)
            parts.append(SegmentBank(cut.direction[kept], label[kept], picture, kept))
        if not sum(len(part.label) for part in parts):
            raise DataError(
                f"{split.name} ({split.split}): no annotated pixel in {len(parts)} pictures, expected some to retrieve;"
                " take another annotation or more pictures"
            )
        self.bank = SegmentBank(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    @torch.no_grad()
    def classify(self, images: torch.Tensor) -> torch.Tensor:
        """One for the class of each cell's segment, zero for the others: (B, C, h, w).

        Args:
            images: (B, 3, H, W) in 0..1.

        Raises:
            DataError: The bank is empty.
        """
        found = []
        for cut in self.cut(images):
            label = self.answer(cut).label[cut.where]  # (h, w)
            found.append(F.one_hot(label, self.classes).permute(2, 0, 1).float())
        return torch.stack(found)

    def answer(self, cut: Cut) -> Answers:
        """What the bank says of each segment of a picture.

        Raises:
            DataError: The bank is empty.
        """
        if self.bank is None:
            raise DataError("segment retrieval: the bank is empty, expected training segments; call remember first")
        return vote(self.bank, cut.direction, self.classes, self.neighbours)


def full_labels(split: SemanticSplit) -> Labels:
    """The whole masks of a split's pictures."""

    def read(index: int) -> np.ndarray:
        """Mask of a picture, or nothing known."""
        if split.has_label(index):
            return split.read_label(index)
        return np.full(split.read_image(index).shape[:2], UNLABELLED, np.uint8)

    return read
