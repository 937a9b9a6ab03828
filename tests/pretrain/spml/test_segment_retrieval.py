"""Segment retrieval: cuts, majority of neighbours, and the classifier made of them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.errors import DataError
from pixgraph.pretrain.spml.retrieval import (
    SegmentBank,
    SegmentRetrieval,
    cut_picture,
    full_labels,
    segment_labels,
    vote,
)
from pixgraph.pretrain.spml.retrieval_sheet import draw_questions, retrieval_sheet
from pixgraph.pretrain.spml.scoring import score_classes


class ColourSplit:
    """Pictures of coloured quarters; the class of a pixel is its colour."""

    name, split, names, background = "colours", "train", ("red", "green", "blue"), None
    classes = 3

    def __init__(self, count=6, seed=0):
        rng = np.random.default_rng(seed)
        self.labels = [
            np.kron(rng.permutation([0, 1, 2, 0]).reshape(2, 2), np.ones((16, 16), int)) for _ in range(count)
        ]
        self.keys = [f"c{i}" for i in range(count)]

    def __len__(self):
        return len(self.labels)

    def has_label(self, index):
        return True

    def read_image(self, index):
        return (255 * np.eye(3)[self.labels[index]]).astype(np.uint8)

    def read_label(self, index):
        return self.labels[index].astype(np.uint8)

    def read(self, index):
        return self.read_image(index), self.read_label(index)


def colours(images):
    """The colour of each cell of four pixels as embedding."""
    return F.normalize(F.avg_pool2d(images, 4) + 0.01, dim=1)


def filled(split, **more):
    retrieval = SegmentRetrieval(colours, 3, grid=(4, 4), **more)
    retrieval.remember(split, range(len(split)), full_labels(split))
    return retrieval


def brute_force(bank, direction, classes, k):
    """The rule in words, row by row."""
    out = []
    for q in direction.numpy():
        order = np.argsort(-(bank.direction.numpy() @ q), kind="stable")[:k]
        labels = bank.label.numpy()[order].tolist()
        out.append(max(set(labels), key=lambda c: (labels.count(c), -labels.index(c))))
    return out


def random_bank(count=50, dimensions=6, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    direction = F.normalize(torch.randn(count, dimensions, generator=generator), dim=1)
    label = torch.randint(0, classes, (count,), generator=generator)
    return SegmentBank(direction, label, torch.zeros_like(label), torch.arange(count))


@pytest.mark.parametrize("k", [1, 2, 5, 20, 99])
def test_majority_of_the_nearest(k):
    bank = random_bank()
    asking = F.normalize(torch.randn(30, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    said = vote(bank, asking, 4, k)
    assert said.label.tolist() == brute_force(bank, asking, 4, k)
    expected = (asking @ bank.direction.T).sort(1, descending=True).values[:, : min(k, 50)]
    torch.testing.assert_close(said.cosine, expected, atol=1e-5, rtol=1e-5)


def test_the_numbers_of_the_classes_do_not_matter():
    bank = random_bank()
    asking = F.normalize(torch.randn(30, 6, generator=torch.Generator().manual_seed(1)), dim=1)
    rename = torch.tensor([2, 0, 3, 1])
    renamed = vote(bank._replace(label=rename[bank.label]), asking, 4, 4).label
    assert renamed.tolist() == rename[vote(bank, asking, 4, 4).label].tolist()


def test_segments_cover_the_picture_and_are_means():
    unit = F.normalize(torch.randn(5, 12, 9, generator=torch.Generator().manual_seed(0)), dim=0)
    cut = cut_picture(unit, (3, 2))
    assert cut.where.unique().tolist() == list(range(len(cut.direction)))
    for i in range(len(cut.direction)):
        torch.testing.assert_close(cut.direction[i], F.normalize(unit[:, cut.where == i].sum(1), dim=0))


def test_labels_of_segments_are_those_of_most_annotated_cells():
    unit = F.normalize(torch.randn(5, 8, 8, generator=torch.Generator().manual_seed(0)), dim=0)
    cut = cut_picture(unit, (2, 2))
    label = np.full((32, 32), 254, np.uint8)
    assert segment_labels(cut, label, 3).tolist() == [255] * len(cut.direction)
    label[0, 0] = 2
    found = segment_labels(cut, label, 3)
    assert int(found[cut.where[0, 0]]) == 2
    assert (found != 255).sum() == 1


def test_colours_are_retrieved_perfectly():
    train, scored = ColourSplit(), ColourSplit(3, seed=9)
    retrieval = filled(train)
    assert "bank=" in repr(retrieval)
    confusion = score_classes(retrieval.classify, scored, range(3), 0)
    assert confusion.miou() > 0.95  # but for the interpolation at outlines


def test_only_annotated_segments_are_remembered():
    train = ColourSplit()
    retrieval = SegmentRetrieval(colours, 3, grid=(4, 4))

    def one_point(index):
        label = np.full((32, 32), 254, np.uint8)
        label[3, 3] = train.read_label(index)[3, 3]
        return label

    retrieval.remember(train, range(4), one_point)
    assert retrieval.bank.picture.tolist() == [0, 1, 2, 3]


def test_nothing_to_retrieve_is_refused():
    train = ColourSplit(2)
    retrieval = SegmentRetrieval(colours, 3)
    with pytest.raises(DataError, match="the bank is empty, expected training segments; call remember first"):
        retrieval.classify(torch.rand(1, 3, 32, 32))
    with pytest.raises(DataError, match=r"colours \(train\): no annotated pixel in 2 pictures"):
        retrieval.remember(train, range(2), lambda index: np.full((32, 32), 254, np.uint8))


def test_sheet_has_a_row_a_question_and_answers_of_different_pictures():
    train, scored = ColourSplit(), ColourSplit(3, seed=9)
    retrieval = filled(train)
    questions = draw_questions(retrieval, scored, range(3), 2, 0, seed=1)
    assert [q.label for q in questions] == [0, 0, 1, 1, 2, 2]
    assert questions == draw_questions(retrieval, scored, range(3), 2, 0, seed=1)
    sheet = retrieval_sheet(retrieval, train, scored, questions[:2], top=3)
    assert sheet.width > 3 * sheet.height / 2
