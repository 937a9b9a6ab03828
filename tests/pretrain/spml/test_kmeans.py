"""Spherical k-means against loops, and the segments that come of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixgraph.pretrain.spml.kmeans import grid_clusters, located, spherical_kmeans
from pixgraph.pretrain.spml.segments import directions, split_segments


def maps(batch=2, channels=6, height=9, width=7, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.standard_normal((batch, channels, height, width)))


def oracle(embedding, valid, grid, iterations):
    """The algorithm of section 4 for one picture (D, h, w), pixel by pixel."""
    _, height, width = embedding.shape
    vectors, clusters = {}, {}
    for y in range(height):
        for x in range(width):
            if not valid[y, x]:
                continue
            e = embedding[:, y, x].numpy()
            place = [(y / (height - 1) if height > 1 else 0) - 0.5, (x / (width - 1) if width > 1 else 0) - 0.5]
            v = np.concatenate([e / np.linalg.norm(e), place])
            vectors[y, x] = v / np.linalg.norm(v)
            row, column = (
                int(np.rint(i * (g - 1) / (n - 1))) for i, g, n in ((y, grid[0], height), (x, grid[1], width))
            )
            clusters[y, x] = row * grid[1] + column
    for _ in range(iterations):
        sums = {}
        for place, c in clusters.items():
            sums[c] = sums.get(c, 0) + vectors[place]
        for place, v in vectors.items():
            products = {c: v @ s / np.linalg.norm(s) for c, s in sums.items()}
            clusters[place] = max(sorted(products), key=products.get)
    found = np.full((height, width), -1)
    for place, c in clusters.items():
        found[place] = c
    return found


@pytest.mark.parametrize("iterations", [0, 1, 10])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (6, 6)])
def test_equal_to_loops(grid, iterations):
    x = maps()
    valid = torch.from_numpy(np.random.default_rng(5).random((2, 9, 7)) < 0.8)
    found = spherical_kmeans(x, valid, grid, iterations)
    for i in range(2):
        np.testing.assert_array_equal(found[i].numpy(), oracle(x[i], valid[i].numpy(), grid, iterations))


def test_two_halves_of_a_picture_are_found():
    x = torch.zeros(1, 2, 8, 12)
    x[:, 0, :, :5], x[:, 1, :, 5:] = 1, 1
    found = spherical_kmeans(x, grid=(1, 2))
    assert (found[0, :, :5] == 0).all()
    assert (found[0, :, 5:] == 1).all()


def test_a_cluster_that_lost_its_pixels_stays_empty():
    """Nine cells, but two opposite vectors: pixels are against all clusters but those of their own kind."""
    x = torch.zeros(1, 1, 30, 30)
    x[..., :15], x[..., 15:] = 1, -1
    valid = torch.ones(1, 30, 30, dtype=torch.bool)
    valid[:, :, 8:22] = False  # the middle cells have no pixel to begin with
    found = spherical_kmeans(x, valid, (3, 3))
    assert set(found[valid].tolist()) <= {0, 2, 3, 5, 6, 8}
    np.testing.assert_array_equal(found[0].numpy(), oracle(x[0], valid[0].numpy(), (3, 3), 10))


def test_location_is_centred_and_counts_a_third_in_a_corner():
    found = located(torch.randn(1, 4, 5, 7, generator=torch.Generator().manual_seed(0)))
    assert found[0, -2:, 2, 3].abs().max() < 1e-7
    assert float(found[0, -2:, 0, 0].square().sum()) == pytest.approx(1 / 3, rel=1e-5)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 5, 7))


def test_border_cells_of_the_grid_are_half_as_large():
    counts = torch.bincount(grid_clusters(1, 1201, (1, 4))[0])
    assert counts.tolist() == pytest.approx([200, 400, 400, 200], abs=1)


def test_a_picture_does_not_depend_on_its_batch_and_half_precision_is_exact_enough():
    x = maps(3).float()
    whole = spherical_kmeans(x)
    assert torch.equal(spherical_kmeans(x[1:2])[0], whole[1])
    coarse = spherical_kmeans(x.bfloat16())
    assert torch.equal(coarse, spherical_kmeans(x.bfloat16().float()))


def test_pixels_outside_have_no_influence():
    x = maps(1)
    valid = torch.ones(1, 9, 7, dtype=torch.bool)
    valid[:, 3:5] = False
    other = x.clone()
    other[:, :, 3:5] = 100
    assert torch.equal(spherical_kmeans(x, valid), spherical_kmeans(other, valid))
    assert (spherical_kmeans(x, valid)[~valid] == -1).all()
    assert (spherical_kmeans(x, torch.zeros_like(valid)) == -1).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="got a grid of 0 x 6, expected sides of at least 1"):
        spherical_kmeans(maps(), grid=(0, 6))
    with pytest.raises(ValueError, match=r"got valid pixels \(1, 2, 2\), expected \(2, 9, 7\)"):
        spherical_kmeans(maps(), torch.ones(1, 2, 2, dtype=torch.bool))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_equal_on_a_gpu():
    x = maps(4, 64, 64, 64).float()
    here, there = spherical_kmeans(x), spherical_kmeans(x.cuda()).cpu()
    assert float((here == there).double().mean()) > 0.999  # near ties fall either way


def test_segments_are_pure_and_complete():
    rng = np.random.default_rng(0)
    clusters = torch.from_numpy(rng.integers(-1, 4, (3, 8, 9)))
    label = torch.from_numpy(rng.choice([0, 1, 5, 254, 255], (3, 8, 9)))
    region = torch.from_numpy(rng.integers(0, 3, (3, 8, 9)))
    found = split_segments(clusters, label, region)
    inside = (clusters >= 0) & (label != 255)
    assert torch.equal(found.id >= 0, inside)
    image = torch.arange(3)[:, None, None].expand(3, 8, 9)
    expected = {tuple(key) for key in torch.stack([image, clusters, label, region], -1)[inside].tolist()}
    assert len(found.label) == len(expected) == int(found.id.max()) + 1
    for name, values in (("image", image), ("label", label), ("region", region)):
        assert torch.equal(getattr(found, name)[found.id[inside]], values[inside])
    for s in range(len(found.label)):
        assert len(clusters[found.id == s].unique()) == 1
    assert torch.equal(found.image, found.image.sort().values)  # a picture's segments follow each other


def test_unlabelled_pixels_make_segments_and_ignored_ones_do_not():
    clusters = torch.zeros(1, 1, 3, dtype=torch.int64)
    found = split_segments(clusters, torch.tensor([[[254, 255, 0]]]))
    assert found.id.tolist() == [[[1, -1, 0]]]
    assert found.label.tolist() == [0, 254]
    empty = split_segments(clusters, torch.full((1, 1, 3), 255))
    assert len(empty.label) == 0
    assert (empty.id == -1).all()


def test_directions_are_normalised_sums_with_gradient():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((7, 3))).requires_grad_()
    segment = torch.tensor([0, 2, 2, 0, 3, 3, 2])
    found = directions(x, segment, 5)
    for s in (0, 2, 3):
        total = sum(x[i] for i in range(7) if segment[i] == s)
        torch.testing.assert_close(found[s], total / total.norm())
    assert found[[1, 4]].abs().max() == 0
    assert torch.autograd.gradcheck(lambda v: directions(v, segment, 5), x)
    torch.testing.assert_close(F.normalize(found[[0]], dim=1), found[[0]])
