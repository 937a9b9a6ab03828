import pytest
import torch

from pixgraph.models.cell_labels import label_areas, label_shares


def test_areas_count_the_pixels_of_each_cell():
    label = torch.randint(0, 4, (2, 8, 12), generator=torch.Generator().manual_seed(0))
    label[label == 3] = 255
    areas = label_areas(label, 2, 2, 4)  # cells of 4 x 3 pixels
    at = 0
    for image in label:
        for row in range(2):
            for column in range(4):
                cell = image[4 * row : 4 * row + 4, 3 * column : 3 * column + 3]
                assert areas[at].tolist() == pytest.approx([float((cell == n).float().mean()) for n in (0, 1, 2)])
                at += 1
    assert at == len(areas)


def test_shares_are_those_of_the_known_area():
    label = torch.tensor([[0, 1, 255, 255], [1, 1, 2, 255]])
    shares, area = label_shares(label[None], 2, 1, 2)
    torch.testing.assert_close(shares, torch.tensor([[0.25, 0.75, 0], [0, 0, 1.0]]))
    torch.testing.assert_close(area, torch.tensor([1.0, 0.25]))


def test_a_cell_of_unknown_pixels_has_no_share():
    shares, area = label_shares(torch.tensor([[[254, 255], [0, 1]]]), 1, 2, 1)
    assert shares.tolist() == [[0, 0], [0.5, 0.5]]
    assert area.tolist() == [0, 1]
