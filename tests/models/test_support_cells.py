"""Cells of the supports: which stand for a class, and what becomes of squares of background."""

import pytest
import torch
import torch.nn.functional as F

from pixgraph.models.evidence import Evidence
from pixgraph.models.support_cells import hard_sides, merge_background, support_cells


def areas(count, rows, columns, n_way=2, seed=0):
    """Shares of cells: two in three hold nothing but background, known in part."""
    rng = torch.Generator().manual_seed(seed)
    share = torch.rand(count * rows * columns, n_way + 1, generator=rng, dtype=torch.float64)
    share = share / (1.2 * share.sum(1, keepdim=True))
    share[torch.rand(len(share), generator=rng) < 0.67, 1:] = 0
    share[torch.rand(len(share), generator=rng) < 0.2] = 0  # wholly unknown
    return share


def test_hard_sides_take_the_majority_or_else_the_best_cell():
    known = torch.tensor([1.0, 0.5, 1.0, 0.0])
    weight = torch.tensor([[0.6, 0.1, 0.0, 0.2], [0.2, 0.05, 0.0, 0.3], [0.5, 0.2, 0.0, 0.2], [0.0, 0.0, 0.0, 0.0]])
    side = hard_sides(weight, known)
    assert side.T.int().tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert not hard_sides(torch.zeros(4, 2), torch.zeros(4)).any()


@pytest.mark.parametrize("n_way", [1, 2])
def test_squares_without_a_class_are_merged_and_no_others(n_way):
    """Cell by cell: the sum of each square and the mean of what is known in it, or its four cells."""
    count, rows, columns = 3, 4, 6
    maps = torch.randn(count, 5, rows, columns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    area = areas(count, rows, columns, n_way)
    of_cell = area.view(count, rows, columns, -1)
    expected = set()
    for b in range(count):
        for i in range(0, rows, 2):
            for j in range(0, columns, 2):
                square = [(i + di, j + dj) for di in (0, 1) for dj in (0, 1)]
                whole = all(float(of_cell[b, y, x, 1:].sum()) == 0 for y, x in square)
                for group in [square] if whole else [[cell] for cell in square]:
                    total = sum(of_cell[b, y, x] for y, x in group)
                    weights = [float(of_cell[b, y, x, 0] / total[0]) if whole else 1.0 for y, x in group]
                    mean = sum(w * maps[b, :, y, x] for w, (y, x) in zip(weights, group, strict=True))
                    expected.add(tuple(torch.cat([mean, total]).mul(1e6).round().tolist()))
    cells, merged = merge_background(maps, area)
    assert len(cells) == len(expected) < len(area)
    assert set(map(tuple, torch.cat([cells, merged], 1).mul(1e6).round().tolist())) == expected


def test_where_cells_of_a_square_are_alike_merging_changes_no_evidence():
    rng = torch.Generator().manual_seed(2)
    maps = torch.randn(2, 4, 3, 4, generator=rng, dtype=torch.float64).repeat_interleave(2, 2).repeat_interleave(2, 3)
    area = areas(2, 6, 8)
    query = F.normalize(torch.randn(5, 4, generator=rng, dtype=torch.float64), dim=1)
    found = []
    for cells, share in ((maps.permute(0, 2, 3, 1).flatten(0, 2), area), merge_background(maps, area)):
        known = support_cells(F.normalize(cells, dim=1), share[:, 1:], share.sum(1))
        found.append(Evidence().double()(query, known))
    torch.testing.assert_close(found[1], found[0])


def test_what_is_unknown_has_no_part_in_a_square_of_background():
    """One known cell, and three that look otherwise; a square of which nothing is known stays unknown."""
    maps = torch.zeros(1, 2, 2, 4)
    maps[0, 0, 0, 0] = 1.0
    maps[0, 1] = 1 - maps[0, 0]
    area = torch.zeros(8, 2)
    area[0, 0] = 1.0
    cells, merged = merge_background(maps, area)
    torch.testing.assert_close(cells[0], torch.tensor([1.0, 0.0]))
    assert merged.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert len(support_cells(cells, merged[:, 1:], merged.sum(1)).unit) == 1


def test_a_grid_that_does_not_fall_into_squares_stays_as_it_is():
    maps, area = torch.arange(120.0).view(2, 3, 5, 4), areas(2, 5, 4)
    cells, same = merge_background(maps, area)
    assert torch.equal(cells, maps.permute(0, 2, 3, 1).flatten(0, 2))
    assert torch.equal(same, area)


def test_no_class_anywhere_and_classes_everywhere():
    maps = torch.arange(48.0).view(1, 3, 4, 4)
    cells, area = merge_background(maps, torch.tensor([[1.0, 0.0]]).expand(16, 2))
    assert len(cells) == 4
    assert torch.equal(area, torch.tensor([[4.0, 0.0]]).expand(4, 2))
    assert len(merge_background(maps, torch.full((16, 2), 0.5))[0]) == 16
