"""From tags to labels of pixels: the whole way, with a network that sees colours."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.data.images import read_mask
from pixgraph.errors import RunError
from pixgraph.pretrain.segmentation_network import build_segmentation_network
from pixgraph.pretrain.spml.random_walk import refine
from pixgraph.pretrain.spml.tag_labels import (
    TagLabeller,
    _winner,
    encoder_maps,
    place_cells,
    write_labels,
)
from pixgraph.pretrain.spml.weak_labels import label_path

COLOURS = np.array([[90, 90, 90], [220, 40, 40], [40, 200, 60], [50, 70, 230]], np.uint8)


class ColourNetwork(nn.Module):
    """Maps at strides 8 and 16: how near the colour is to each of four."""

    divisor, stride = 16, 4

    def __init__(self):
        super().__init__()
        self.mean, self.std = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)

    def network(self, x):
        near = torch.stack(
            [torch.exp(-20 * (x - c[:, None, None]).square().sum(1)) for c in torch.tensor(COLOURS) / 255], 1
        )
        return [near, F.avg_pool2d(near, 8), F.avg_pool2d(near, 16)]


class Squares:
    """Pictures of coloured squares on grey, the class of the background is 0."""

    name, split, background, classes = "squares", "train", 0, 4

    def __init__(self, count=12):
        rng = np.random.default_rng(0)
        self.labels = []
        for i in range(count):
            label = np.zeros((64, 80), np.uint8)
            for c in {1 + i % 3, 1 + rng.integers(3)}:
                row, column = rng.integers(0, 30), rng.integers(0, 40)
                label[row : row + 28, column : column + 28] = c
            self.labels.append(label)
        self.keys = [f"a/{i}" for i in range(count)]

    def read_image(self, index):
        noise = np.random.default_rng(index).integers(-9, 9, (64, 80, 3))
        return (COLOURS[self.labels[index]].astype(int) + noise).clip(0, 255).astype(np.uint8)

    def tags(self, index):
        return np.isin(np.arange(4), self.labels[index])


@pytest.fixture(scope="module")
def labeller():
    squares = Squares()
    made = TagLabeller(ColourNetwork(), 4, 0)
    made.fit(squares, range(12), squares.tags)
    return made


def test_each_step_comes_nearer_to_the_mask(labeller):
    squares, right = Squares(), []
    for i in range(4):
        stages = labeller(squares.read_image(i), squares.tags(i))
        right.append([float((labels == squares.labels[i]).mean()) for labels in stages])
        for labels in stages:
            assert labels.dtype == np.uint8
            assert labels.shape == (64, 80)
            assert set(np.unique(labels).tolist()) <= set(np.unique(squares.labels[i]).tolist())
    cam, _, refined = np.mean(right, 0)
    assert cam > 0.7
    assert refined > max(cam, 0.9)


def test_masks_are_not_read(labeller):
    squares = Squares()
    rgb, tags = squares.read_image(0), squares.tags(0)
    a, b = labeller(rgb, tags), labeller(rgb, tags)
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_files_are_of_the_pictures_size(labeller, tmp_path):
    squares = Squares()
    write_labels(labeller, squares, [0, 3], squares.tags, tmp_path / "labels")
    assert sorted(p.name for p in (tmp_path / "labels").iterdir()) == ["a__0.png", "a__3.png"]
    expected = labeller(squares.read_image(3), squares.tags(3)).refined
    assert np.array_equal(read_mask(label_path(tmp_path / "labels", "a/3")), expected)


def test_files_that_cannot_be_written(labeller, tmp_path):
    squares = Squares()
    (tmp_path / "labels").write_text("a file")
    with pytest.raises(RunError, match=r"cannot write .*labels.*; free space or change permissions"):
        write_labels(labeller, squares, [0], squares.tags, tmp_path / "labels")


def test_labels_need_a_fitted_classifier():
    with pytest.raises(RuntimeError, match="not fitted; call fit first"):
        TagLabeller(ColourNetwork(), 4, 0)(np.zeros((16, 16, 3), np.uint8), np.ones(4, bool))


@pytest.mark.parametrize("name", ["unet-small", "deeplabv3plus:mobilenet_v2"])
@torch.no_grad()
def test_maps_of_real_networks_start_at_stride_eight(name):
    if name.startswith("deeplab"):
        pytest.importorskip("segmentation_models_pytorch")
    network = build_segmentation_network(name, "random", 3, 8).eval()
    maps = encoder_maps(network, torch.rand(1, 3, 60, 90))
    assert maps[0].shape[1:] == (8, 12)
    assert all(m.shape[1] <= 8 for m in maps)
    cells = place_cells(maps)
    assert cells.shape[1:] == (8, 12)
    torch.testing.assert_close(cells.square().sum(0), torch.ones(8, 12), atol=1e-4, rtol=1e-4)


def test_cells_that_were_filled_up_are_cut():
    maps = encoder_maps(ColourNetwork(), torch.rand(1, 3, 33, 50))
    assert [tuple(m.shape) for m in maps] == [(4, 5, 7), (4, 3, 4)]


def test_the_mode_of_the_network_stays():
    network = build_segmentation_network("unet-small", "random", 3, 8)
    squares = SimpleNamespace(read_image=Squares().read_image)
    made = TagLabeller(network, 4, 0)
    made.maps(squares.read_image(0))
    assert network.training
    assert not next(iter(made.maps(squares.read_image(0)))).requires_grad


def test_a_picture_without_tags_stays_unlabelled():
    scores, none = np.ones((3, 8, 8), np.float32), np.zeros(3, bool)
    for found in (_winner(scores, none), refine(np.zeros((8, 8, 3), np.uint8), scores, none)):
        assert found.shape == (8, 8)
        assert (found == 254).all()
