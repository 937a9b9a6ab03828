import numpy as np
import pytest
import torch

from pixgraph.probe.embedding import Embedding
from pixgraph.probe.units import pixel_units, segment_units


def test_vectors_have_unit_length_and_mean_cosines(noise_picture):
    one, other = noise_picture(0), noise_picture(1)
    embedding = Embedding([one, other], [0, 1])
    a, b = embedding.cells(one, 8), embedding.cells(other, 8)
    assert a.shape == (4, 6, 8)
    assert torch.allclose(a.norm(dim=-1), torch.ones(4, 6), atol=1e-5)
    cosines = []
    for level in (0, 1):
        alone = Embedding([one, other], [level])
        cosines.append((alone.cells(one, 8) * alone.cells(other, 8)).sum(-1))
    assert torch.allclose((a * b).sum(-1), torch.stack(cosines).mean(0), atol=1e-5)


def test_a_constant_added_to_a_channel_has_no_effect(noise_picture):
    picture, moved = noise_picture(), noise_picture()
    moved.features = [f + 5 for f in moved.features]
    first = Embedding([picture], [0, 1]).cells(picture, 8)
    assert torch.allclose(first, Embedding([moved], [0, 1]).cells(moved, 8), atol=1e-4)


def test_pixel_units_are_the_cells_of_a_grid(noise_picture):
    picture = noise_picture(height=32, width=48)
    mask = np.zeros((64, 96), np.uint8)  # twice the working size
    mask[:, :32], mask[:32, 32:] = 3, 255
    embedding = Embedding([picture], [0, 1])
    units = pixel_units(picture, mask, embedding, 16)
    assert units.vectors.shape == (6, 8)
    assert np.allclose(units.vectors.reshape(2, 3, 8), embedding.cells(picture, 16).numpy())
    assert units.where[20, 40] == 5
    assert units.centres.tolist() == [[7.5 + 16 * r, 7.5 + 16 * c] for r in range(2) for c in range(3)]
    assert units.classes.tolist() == [3, 255, 255, 3, 0, 0]
    assert units.pure.tolist() == [True, False, False, True, True, True]


def test_a_mixed_unit_is_not_pure(noise_picture):
    picture = noise_picture(height=32, width=32)
    mask = np.ones((32, 32), np.uint8)
    mask[:10] = 2
    units = pixel_units(picture, mask, Embedding([picture], [0]), 32)
    assert (units.classes.tolist(), units.pure.tolist()) == ([1], [False])


def test_segments_follow_colours_and_average_their_cells(noise_picture):
    picture = noise_picture(height=32, width=48)
    picture.rgb = torch.zeros(3, 32, 48)
    picture.rgb[0, :, :24], picture.rgb[2, :, 24:] = 1.0, 1.0
    mask = np.where(np.arange(48) < 24, 1, 2)[None].repeat(32, 0).astype(np.uint8)
    embedding = Embedding([picture], [0])
    units = segment_units(picture, mask, embedding, 6, stride=4)
    assert set(units.classes.tolist()) == {1, 2}
    assert units.pure.all()
    cells = embedding.cells(picture, 4).numpy()
    for unit in range(len(units.vectors)):
        rows, columns = np.nonzero(units.where == unit)
        mean = cells[rows // 4, columns // 4].mean(0)
        assert np.allclose(units.vectors[unit], mean / np.linalg.norm(mean), atol=1e-5)
        assert units.centres[unit] == pytest.approx([rows.mean(), columns.mean()])


def test_without_mask_there_are_no_classes(noise_picture):
    picture = noise_picture()
    units = pixel_units(picture, None, Embedding([picture], [0]), 8)
    assert units.classes is None
    assert units.pure is None
