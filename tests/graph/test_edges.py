import numpy as np
import pytest
import torch

from pixgraph.config import GraphConfig
from pixgraph.errors import ConfigError
from pixgraph.graph.edges import (
    COLORS,
    EdgeKind,
    color_difference,
    edge_features,
    fill_lattice_features,
    switch_features,
)
from pixgraph.graph.lattice import lattice_edges


def nodes(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 5, generator=generator), torch.randint(0, 3, (n,), generator=generator)


def test_by_hand():
    rgbxy = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0], [0.3, 0.6, 0.9, 0.5, 0.25]])
    feature = edge_features(rgbxy, torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([1, 0]))
    assert torch.allclose(feature, torch.tensor([[0.6, 0.375, 0.0]] * 2))
    same = edge_features(rgbxy, torch.tensor([4, 4]), torch.tensor([0]), torch.tensor([1]), "euclidean")
    assert torch.allclose(same, torch.tensor([[(0.09 + 0.36 + 0.81) ** 0.5, 0.375, 1.0]]))


@pytest.mark.parametrize("color", COLORS)
def test_brute_force_and_symmetry(color):
    from skimage.color import deltaE_ciede2000, rgb2lab

    rgbxy, image = nodes(12)
    src, dst = torch.arange(12).repeat(12), torch.arange(12).repeat_interleave(12)
    feature = edge_features(rgbxy, image, src, dst, color)
    assert feature.dtype == torch.float32
    for e in range(0, 144, 7):
        a, b = rgbxy[src[e]].numpy().astype(float), rgbxy[dst[e]].numpy().astype(float)
        delta = np.abs(a - b)
        f = {
            "mean_abs": delta[:3].mean(),
            "euclidean": np.linalg.norm(delta[:3]),
            "ciede2000": deltaE_ciede2000(rgb2lab(a[:3]), rgb2lab(b[:3])) / 100,
        }[color]
        expected = [f, (delta[3] + delta[4]) / 2, float(image[src[e]] == image[dst[e]])]
        assert feature[e].tolist() == pytest.approx(expected, abs=1e-5)
    back = edge_features(rgbxy, image, dst, src, color)
    assert torch.allclose(feature, back, atol=1e-5)


@pytest.mark.parametrize("color", COLORS)
@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("dilations", [(1,), (1, 2, 4), (3, 6)])
def test_lattice_shortcut_gives_the_same_numbers(color, dilations, connectivity):
    height, width = 5, 7
    rgbxy = torch.rand(height * width, 5, generator=torch.Generator().manual_seed(1))
    rgbxy[:, 3] = (torch.arange(width) * 0.1).repeat(height)
    rgbxy[:, 4] = (torch.arange(height) * 0.2).repeat_interleave(width)
    src, dst = lattice_edges(height, width, dilations, connectivity)
    expected = edge_features(rgbxy, torch.zeros(len(rgbxy), dtype=torch.int64), src, dst, color)
    got = torch.empty(len(src), 3)
    fill_lattice_features(got, rgbxy[:, :3].view(height, width, 3), (0.2, 0.1), dilations, color, connectivity)
    assert torch.allclose(got, expected, atol=1e-6)


def test_features_that_are_left_out_are_zero():
    kept = switch_features(torch.ones(4, 3), GraphConfig(distance_feature=False))
    assert kept.tolist() == [[1, 0, 1]] * 4
    kept = switch_features(torch.ones(4, 3), GraphConfig(color_feature=False, image_feature=False))
    assert kept.tolist() == [[0, 1, 0]] * 4


def test_kinds_have_fixed_numbers_that_checkpoints_rely_on():
    assert [k.name for k in EdgeKind] == [
        "BG_BG",
        "FG_FG",
        "FG_BG",
        "LATTICE",
        "QUERY_SUPPORT_RANDOM",
        "QUERY_SUPPORT_KNN",
        "QUERY_QUERY_KNN",
        "UNLABELLED",
    ]
    assert [int(k) for k in EdgeKind] == list(range(8))


def test_unknown_colour_difference_and_no_edges():
    rgbxy, image = nodes(3)
    none = torch.empty(0, dtype=torch.int64)
    assert edge_features(rgbxy, image, none, none).shape == (0, 3)
    with pytest.raises(ConfigError, match="color: got 'hsv', expected one of mean_abs, euclidean, ciede2000"):
        color_difference(rgbxy[:, :3], rgbxy[:, :3], "hsv")
