import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixgraph.errors import ConfigError
from pixgraph.pretrain import pairs as pairs_module
from pixgraph.pretrain.pairs import bin_diagonal, cell_centres, positive_pairs

WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])


def mirrored(rect):
    return rect[:, [2, 1, 0, 3]]


def by_loops(rect1, rect2, shape, threshold, rule):
    """The definition of Xie et al., cell by cell."""
    height, width = shape
    views = []
    for x1, y1, x2, y2 in (rect1.tolist(), rect2.tolist()):
        bw, bh = (x2 - x1) / width, (y2 - y1) / height
        cells = [(x1 + (j + 0.5) * bw, y1 + (i + 0.5) * bh) for i in range(height) for j in range(width)]
        views.append((cells, math.hypot(bw, bh)))
    (first, d1), (second, d2) = views
    unit = max(d1, d2) if rule == "pixpro" else math.hypot(1 / width, 1 / height)
    return torch.tensor([[math.dist(a, b) / unit for b in second] for a in first]) - threshold


def test_centres_and_diagonal_by_hand():
    rect = torch.tensor([[0.0, 0.0, 1.0, 0.5], [1.0, 0.5, 0.5, 1.0]])
    expected = [
        [[0.25, 0.125], [0.75, 0.125], [0.25, 0.375], [0.75, 0.375]],
        [[0.875, 0.625], [0.625, 0.625], [0.875, 0.875], [0.625, 0.875]],
    ]
    torch.testing.assert_close(cell_centres(rect, (2, 2)), torch.tensor(expected))
    diagonals = torch.tensor([math.hypot(0.5, 0.25), math.hypot(0.25, 0.25)])
    torch.testing.assert_close(bin_diagonal(rect, (2, 2)), diagonals)


@pytest.mark.parametrize("rule", ["pixpro", "pixelcl"])
@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (7, 7)])
def test_equal_views_give_the_diagonal(shape, rule):
    # A neighbour of a square bin is 1 / sqrt(2) = 0.707 diagonals away.
    found = positive_pairs(WHOLE, WHOLE, shape, 0.7, rule)
    assert torch.equal(found[0], torch.eye(shape[0] * shape[1], dtype=torch.bool))


def test_a_mirrored_view_gives_the_other_diagonal_of_every_row():
    found = positive_pairs(WHOLE, mirrored(WHOLE), (3, 3), 0.7)[0].view(3, 3, 3, 3)
    expected = torch.zeros(3, 3, 3, 3, dtype=torch.bool)
    for row, column in itertools.product(range(3), range(3)):
        expected[row, column, row, 2 - column] = True
    assert torch.equal(found, expected)


@pytest.mark.parametrize("rule", ["pixpro", "pixelcl"])
def test_views_far_apart_have_no_pair(rule):
    left, right = torch.tensor([[0.0, 0.0, 0.3, 0.3]]), torch.tensor([[0.7, 0.7, 1.0, 1.0]])
    assert not positive_pairs(left, right, (4, 4), 0.7, rule).any()


def test_a_quarter_matches_its_quarter():
    # The centre of a cell of the quarter is a quarter of the larger diagonal away from that of its cell of the whole.
    quarter = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
    found = positive_pairs(WHOLE, quarter, (4, 4), 0.26)[0].view(4, 4, 4, 4)
    expected = torch.zeros(4, 4, 4, 4, dtype=torch.bool)
    for row, column in itertools.product(range(4), range(4)):
        expected[row // 2, column // 2, row, column] = True
    assert torch.equal(found, expected)


def test_the_unit_of_pixelcl_does_not_depend_on_the_views():
    small = torch.tensor([[0.4, 0.4, 0.5, 0.5]])
    assert positive_pairs(small, small, (4, 4), 0.7, "pixelcl").all()  # all within 0.7 bins of the whole picture
    assert positive_pairs(small, small, (4, 4), 0.7, "pixpro").sum() == 16


@st.composite
def rectangles(draw):
    x1, y1 = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    x2, y2 = draw(st.floats(x1 + 0.05, 1)), draw(st.floats(y1 + 0.05, 1))
    return [x2, y1, x1, y2] if draw(st.booleans()) else [x1, y1, x2, y2]


@given(
    first=st.lists(rectangles(), min_size=3, max_size=3),
    second=st.lists(rectangles(), min_size=3, max_size=3),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    threshold=st.floats(0.1, 3),
    rule=st.sampled_from(["pixpro", "pixelcl"]),
)
@settings(max_examples=40, deadline=None)
def test_as_defined_whatever_the_views(first, second, shape, threshold, rule):
    rect1, rect2 = torch.tensor(first), torch.tensor(second)
    found = positive_pairs(rect1, rect2, shape, threshold, rule)
    for i in range(3):
        beyond = by_loops(rect1[i], rect2[i], shape, threshold, rule)
        clear = beyond.abs() > 1e-4  # at the threshold itself rounding decides
        assert torch.equal(found[i][clear], (beyond < 0)[clear])
    assert torch.equal(positive_pairs(rect2, rect1, shape, threshold, rule), found.mT)


def test_large_maps_in_groups_of_pictures_are_the_same(monkeypatch):
    rect1, rect2 = torch.rand(5, 4), torch.rand(5, 4)
    whole = positive_pairs(rect1, rect2, (6, 5), 0.7)
    monkeypatch.setattr(pairs_module, "_MOST", 2 * 30**2)
    assert torch.equal(positive_pairs(rect1, rect2, (6, 5), 0.7), whole)


def test_a_picture_of_one_pixel_is_no_accident():
    nothing = torch.zeros(1, 4)
    assert not positive_pairs(nothing, nothing, (2, 2), 0.7).any()


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigError, match=r"pixel.pairs: got 'moco', expected one of pixpro, pixelcl"):
        positive_pairs(WHOLE, WHOLE, (2, 2), 0.7, "moco")
