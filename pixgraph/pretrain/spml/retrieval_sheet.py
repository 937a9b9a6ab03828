"""The picture of segment retrieval: a row a query, its segment outlined, then the nearest training segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from pixgraph.data.base import IGNORE
from pixgraph.data.images import resize_mask
from pixgraph.data.semantic import SemanticSplit
from pixgraph.pretrain.spml.retrieval import Cut, SegmentRetrieval, segment_labels
from pixgraph.pretrain.spml.scoring import as_picture
from pixgraph.probe.sheet import PLAIN, RIGHT, WRONG, Cell, cell_size, draw_sheet

OUTLINE = (255, 235, 59)
DIM = 0.6
"""Brightness of what is outside of the segment."""


class Question(NamedTuple):
    """A segment that asks.

    Attributes:
        picture: Number of its picture.
        segment: Number of the segment there.
        label: Its true class.
    """

    picture: int
    segment: int
    label: int


def draw_questions(
    retrieval: SegmentRetrieval, split: SemanticSplit, indices: Sequence[int], each: int, short_side: int, seed: int
) -> list[Question]:
    """Segments of some pictures, `each` of every class as far as there are, each of another picture where possible.

    Args:
        retrieval: Cuts the pictures.
        split: Pictures with masks.
        indices: Which of them.
        each: Questions a class.
        short_side: See `SegmentRetrieval.remember`.
        seed: Seed of the draw.
    """
    rng = np.random.default_rng([seed, 0x5E6])
    found: dict[int, list[Question]] = {c: [] for c in range(split.classes)}
    for index in rng.permutation(np.asarray(indices, np.int64)).tolist():
        (cut,) = retrieval.cut(as_picture(split.read_image(index), short_side))
        labels = segment_labels(cut, split.read_label(index), split.classes).numpy()
        for c in np.unique(labels[labels != IGNORE]).tolist():
            if len(found[c]) < each:
                found[c].append(Question(index, int(rng.choice(np.flatnonzero(labels == c))), c))
        if all(len(questions) >= each for questions in found.values()):
            break
    return [question for questions in found.values() for question in questions]


def retrieval_sheet(
    retrieval: SegmentRetrieval,
    train: SemanticSplit,
    scored: SemanticSplit,
    questions: Sequence[Question],
    short_side: int = 0,
    top: int = 5,
) -> Image.Image:
    """The nearest training segments of each question, at most one of a picture; green frames: of the same class.

    Args:
        retrieval: With a bank of `train`.
        train: The pictures of the bank.
        scored: The pictures of the questions.
        questions: At least one.
        short_side: As when the bank was filled.
        top: Answers that are shown.
    """
    rows, sizes = [], []
    for question in questions:
        rgb = scored.read_image(question.picture)
        (cut,) = retrieval.cut(as_picture(rgb, short_side))
        sizes.append((rgb.shape[0], rgb.shape[1]))
        said = retrieval.answer(Cut(cut.where, cut.direction[question.segment][None]))
        right = int(said.label[0]) == question.label
        caption = f"{scored.names[question.label]}: {'' if right else 'taken for '}{train.names[int(said.label[0])]}"
        row = [Cell(_outlined(rgb, cut.where, question.segment), caption, RIGHT if right else WRONG)]
        rows.append([*row, *_answers(retrieval, train, said.nearest[0], said.cosine[0], question, short_side, top)])
    return draw_sheet(rows, cell_size(sizes))


def _answers(
    retrieval: SegmentRetrieval,
    train: SemanticSplit,
    nearest: torch.Tensor,
    cosine: torch.Tensor,
    question: Question,
    short_side: int,
    top: int,
) -> list[Cell]:
    """The nearest segments, at most one of a picture."""
    bank = retrieval.bank
    cells, seen = list[Cell](), set[int]()
    if bank is None:
        return cells
    for row, similarity in zip(nearest.tolist(), cosine.tolist(), strict=True):
        picture, label = int(bank.picture[row]), int(bank.label[row])
        if picture in seen or len(cells) == top:
            continue
        seen.add(picture)
        rgb = train.read_image(picture)
        (cut,) = retrieval.cut(as_picture(rgb, short_side))
        frame = PLAIN if question.label == IGNORE else RIGHT if label == question.label else WRONG
        shown = _outlined(rgb, cut.where, int(bank.segment[row]))
        cells.append(Cell(shown, f"{similarity:.2f} {train.names[label]}", frame))
    return cells


def _outlined(rgb: np.ndarray, where: torch.Tensor, segment: int) -> np.ndarray:
    """The picture, dimmed outside of a segment (h, w) and with its outline: (H, W, 3) uint8."""
    inside = resize_mask((where == segment).cpu().numpy().astype(np.uint8), (rgb.shape[0], rgb.shape[1])) > 0
    shown = np.where(inside[..., None], rgb, (DIM * rgb).astype(np.uint8))
    padded = np.pad(inside, 2)
    height, width = inside.shape
    shifts = [padded[2 + y : 2 + y + height, 2 + x : 2 + x + width] for y, x in ((-2, 0), (2, 0), (0, -2), (0, 2))]
    border = inside & ~np.logical_and.reduce(shifts)
    shown[border] = OUTLINE
    return shown
