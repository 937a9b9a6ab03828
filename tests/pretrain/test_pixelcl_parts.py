import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_net import small_net
from torch import nn

from pixgraph.errors import ConfigError
from pixgraph.pretrain.pairs import positive_pairs
from pixgraph.pretrain.pixelcl_crops import Crops, crop_pairs, cut, draw_crops
from pixgraph.pretrain.pixelcl_losses import agreement, consistency, contrast
from pixgraph.pretrain.pixelcl_modules import PPM, TappedNetwork, layer_name

WHOLE = Crops([(0, 0, 32, 32)], [False])
CPU = torch.device("cpu")


def vectors(*shape, seed=0, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def masks(*shape, seed=0, share=0.2):
    return torch.from_numpy(np.random.default_rng(seed).random(shape) < share)


def cosines(online, target):
    """(B, N, N) by NumPy."""
    a, b = (x.detach().numpy() / np.linalg.norm(x.detach().numpy(), axis=1, keepdims=True) for x in (online, target))
    return np.einsum("bdi,bdj->bij", a, b)


@pytest.mark.parametrize("pictures", [1, 3], ids=["one mask", "a mask each"])
def test_losses_equal_numpy(pictures):
    online, target, pairs = vectors(3, 5, 9), vectors(3, 5, 9, seed=1), masks(pictures, 9, 9)
    found, everywhere = cosines(online, target), np.broadcast_to(pairs.numpy(), (3, 9, 9))
    assert consistency(online, target, pairs).item() == pytest.approx(-found[everywhere].mean(), abs=1e-12)
    exponentials = np.exp(found / 0.3)
    expected = -np.log(exponentials[everywhere].sum() / exponentials.sum())
    assert contrast(online, target, pairs, 0.3).item() == pytest.approx(expected, abs=1e-12)


def test_collapse_values():
    same, pairs = torch.ones(2, 4, 6), masks(1, 6, 6, share=0.4)
    assert consistency(same, 3 * same, pairs).item() == pytest.approx(-1)
    assert contrast(same, 3 * same, pairs, 0.3).item() == pytest.approx(math.log(36 / int(pairs.sum())), abs=1e-5)
    assert agreement(same[:, :, 0], same[:, :, 1]).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert agreement(same[:, :, 0], -same[:, :, 1]).tolist() == pytest.approx([4, 4], abs=1e-6)


@pytest.mark.parametrize("loss", [consistency, lambda *args: contrast(*args, 0.5)], ids=["consistency", "contrast"])
@pytest.mark.parametrize("pictures", [1, 2])
def test_gradients(loss, pictures):
    target, pairs = vectors(2, 3, 4, seed=1), masks(pictures, 4, 4, share=0.5)
    assert torch.autograd.gradcheck(lambda x: loss(x, target, pairs), vectors(2, 3, 4).requires_grad_())


@pytest.mark.parametrize("loss", [consistency, lambda *args: contrast(*args, 0.5)], ids=["consistency", "contrast"])
def test_no_pair_gives_zero_with_gradients_of_zero(loss):
    online = vectors(2, 3, 4).requires_grad_()
    value = loss(online, vectors(2, 3, 4, seed=1), torch.zeros(1, 4, 4, dtype=torch.bool))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert online.grad.abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    online, target, pairs = vectors(2, 8, 9), vectors(2, 8, 9, seed=1), masks(2, 9, 9)
    for loss in (consistency, lambda *args: contrast(*args, 0.05)):
        half = loss(online.to(dtype), target.to(dtype), pairs)
        assert half.dtype == torch.float32
        assert half.item() == pytest.approx(loss(online, target, pairs).item(), abs=0.1)


def test_the_order_of_pictures_does_not_matter():
    online, target, pairs = vectors(4, 3, 5), vectors(4, 3, 5, seed=1), masks(4, 5, 5)
    order = [2, 0, 3, 1]
    for loss in (consistency, lambda *args: contrast(*args, 0.3)):
        assert loss(online[order], target[order], pairs[order]).item() == pytest.approx(
            loss(online, target, pairs).item(), abs=1e-12
        )


@pytest.mark.parametrize(("layers", "gamma"), [(0, 2), (1, 2), (1, 1), (2, 3)])
def test_propagation_equals_the_sum_over_all_cells(layers, gamma):
    module = PPM(chan=4, num_layers=layers, gamma=gamma).double()
    x = vectors(2, 4, 3, 5)
    weights = F.cosine_similarity(x.flatten(2)[..., :, None], x.flatten(2)[..., None, :], dim=1).relu() ** gamma
    expected = torch.einsum("bij,bcj->bci", weights, module.transform_net(x).flatten(2)).view_as(x)
    torch.testing.assert_close(module(x), expected)


def test_a_propagation_of_unknown_depth_is_refused():
    with pytest.raises(ConfigError, match="expected 0, 1 or 2 layers"):
        PPM(chan=4, num_layers=3)


def test_equal_crops_of_a_picture_give_the_diagonal_and_mirrored_ones_the_other():
    pairs = crop_pairs(WHOLE, WHOLE, (32, 32), (4, 4), 0.7, "bilinear", CPU)
    assert torch.equal(pairs[0], torch.eye(16, dtype=torch.bool))
    mirrored = crop_pairs(WHOLE, WHOLE._replace(mirrored=[True]), (32, 32), (4, 4), 0.7, "bilinear", CPU)
    expected = torch.eye(16, dtype=torch.bool).view(4, 4, 4, 4).flip(-1).reshape(16, 16)
    assert torch.equal(mirrored[0], expected)


def test_crops_apart_share_nothing():
    far = Crops([(0, 0, 8, 8)], [False]), Crops([(24, 24, 8, 8)], [False])
    assert not crop_pairs(*far, (32, 32), (4, 4), 0.7, "bilinear", CPU).any()


def test_the_pairs_are_those_of_the_rule_named_after_it():
    rng = np.random.default_rng(0)
    first, second = (draw_crops(20, (64, 64), (0.5, 0.9), 0.5, rng) for _ in range(2))
    found = crop_pairs(first, second, (64, 64), (5, 5), 0.7, "bilinear", CPU)
    rects = []
    for crops in (first, second):
        rows = []
        for (top, left, height, width), mirrored in zip(crops.boxes, crops.mirrored, strict=True):
            x1, x2 = (left, left + width)[:: -1 if mirrored else 1]
            rows.append([x1 / 64, top / 64, x2 / 64, (top + height) / 64])
        rects.append(torch.tensor(rows))
    rule = positive_pairs(*rects, (5, 5), 0.7, "pixelcl")
    assert found.any(dim=(1, 2)).all()
    assert (found != rule).sum() <= 2  # at the threshold itself rounding decides


def test_one_crop_for_all_equals_the_same_crop_for_each():
    images = vectors(3, 3, 20, 24, dtype=torch.float32)
    box = (3, 5, 12, 14)
    for mirrored in (False, True):
        together, apart = Crops([box], [mirrored]), Crops([box] * 3, [mirrored] * 3)
        assert torch.equal(cut(images, together, "nearest"), cut(images, apart, "nearest"))
        pairs = [crop_pairs(c, c, (20, 24), (4, 4), 0.7, "bilinear", CPU) for c in (together, apart)]
        assert torch.equal(pairs[0].expand(3, -1, -1), pairs[1])


def test_drawn_crops_have_the_sides_asked_for():
    rng = np.random.default_rng(0)
    crops = draw_crops(300, (40, 80), (0.6, 0.8), 0.25, rng)
    assert 0.15 < np.mean(crops.mirrored) < 0.35
    for top, left, height, width in crops.boxes:
        assert 24 <= height <= 32
        assert abs(width - 2 * height) <= 1
        assert 0 <= top <= 40 - height
        assert 0 <= left <= 80 - width
    assert draw_crops(1, (1, 1), (0.1, 0.1), 0.0, rng).boxes == [(0, 0, 1, 1)]


def test_layers_by_name_and_by_position():
    net = small_net()
    assert layer_name(net, -2) == "avgpool"
    assert layer_name(net, 0) == "conv"
    assert layer_name(net, "layer4.1") == "layer4.1"
    with pytest.raises(
        ConfigError,
        match=r"got 'layer5', expected a module of the network, such as conv, layer4, avgpool, fc; did you mean layer4",
    ):
        layer_name(net, "layer5")
    with pytest.raises(ConfigError, match=r"got 4, but the network has 4 children"):
        layer_name(net, 4)


def test_measuring_a_network_leaves_it_as_it_was():
    net = small_net()
    net.layer4.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    state = torch.get_rng_state()
    tapped = TappedNetwork(net, "layer4", -2, 5, 7, 32)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert not torch.equal(state, torch.get_rng_state())  # the heads are drawn as torch's layers are
    pixel, instance = tapped(torch.rand(3, 3, 32, 32))
    assert pixel.shape == (3, 5, 4, 4)
    assert instance.shape == (3, 5)
    assert not any(module._forward_hooks for module in net.modules())


class Odd(nn.Module):
    """Gives a tuple from one layer and never runs another."""

    def __init__(self):
        super().__init__()
        self.split = nn.LSTM(3, 2)
        self.unused = nn.Linear(1, 1)
        self.last = nn.Identity()

    def forward(self, x):
        return self.last(self.split(x.mean(dim=(2, 3)))[0])


@pytest.mark.parametrize(
    ("net", "layer", "size", "words"),
    [
        (small_net(), "fc", 32, r"hidden_layer_pixel 'fc' gives shape \(2, 4\), expected a map"),
        (Odd(), "split", 8, "layer 'split' of the network gives tuple, expected a tensor"),
        (Odd(), "unused", 8, "layer 'unused' of the network gives nothing, expected a tensor"),
        (small_net(stride=16), "layer4", 8, "image_size: the network does not take pictures of 8 x 8 pixels"),
    ],
)
def test_layers_that_give_no_map_are_refused(net, layer, size, words):
    with pytest.raises(ConfigError, match=words):
        TappedNetwork(net, layer, -1, 5, 7, size)
