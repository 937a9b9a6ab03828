"""`PixelCL` beside the package pixel-level-contrastive-learning, where that is installed: same weights, same crops."""

import inspect

import pytest
import torch
from small_net import small_net
from torch import nn

from pixgraph.pretrain.pixelcl import PPM, PixelCL
from pixgraph.pretrain.pixelcl_crops import Crops

package = pytest.importorskip(
    "pixel_level_contrastive_learning", reason="pixel-level-contrastive-learning is not installed"
)
module = inspect.getmodule(package.PixelCL)

SIZE = 64
CROPS = [
    (Crops([(0, 0, 40, 40)], [False]), Crops([(8, 4, 48, 48)], [False])),
    (Crops([(3, 20, 41, 41)], [True]), Crops([(10, 1, 50, 50)], [False])),
    (Crops([(5, 5, 45, 45)], [True]), Crops([(5, 5, 45, 45)], [True])),
]
APART = Crops([(0, 0, 16, 16)], [False]), Crops([(48, 48, 16, 16)], [True])


def both(monkeypatch, crops, **options):
    """The package's learner, with its crops set, and ours with the same weights."""
    options = {
        "hidden_layer_pixel": "layer4",
        "projection_size": 8,
        "projection_hidden_size": 16,
        "augment_fn": nn.Identity(),
        **options,
    }
    theirs = package.PixelCL(small_net(), SIZE, **options)
    ours = PixelCL(small_net(1), SIZE, **options)
    with torch.no_grad():  # the target shall not be the online network
        for p in theirs.target_encoder.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    ours.load_state_dict(theirs.state_dict())
    boxes = iter([((t, t + h), (x, x + w)) for c in crops for t, x, h, w in c.boxes])
    flips = iter([flip for c in crops for flip in c.mirrored])
    monkeypatch.setattr(module, "cutout_coordinates", lambda *args, **kwargs: (next(boxes), 0.7))
    monkeypatch.setattr(module, "rand_true", lambda probability: next(flips))
    return theirs, ours


@pytest.mark.parametrize("crops", [*CROPS, APART])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_pixpro": False},
        {"ppm_num_layers": 0, "ppm_gamma": 1},
        {"ppm_num_layers": 2, "alpha": 3.0},
        {"distance_thres": 1.4, "coord_cutout_interpolate_mode": "nearest", "cutout_interpolate_mode": "bilinear"},
    ],
)
def test_loss_pairs_and_gradients_are_the_packages(monkeypatch, crops, options):
    theirs, ours = both(monkeypatch, crops, **options)
    images = torch.rand(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    expected, count = theirs(images, return_positive_pairs=True)
    loss, pairs = ours(images, return_positive_pairs=True, crops=crops)
    assert int(pairs) == int(count)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    expected.backward()
    loss.backward()
    others = dict(theirs.named_parameters())
    for name, own in ours.named_parameters():
        if others[name].grad is not None and own.grad is not None:
            torch.testing.assert_close(own.grad, others[name].grad, atol=1e-5, rtol=1e-3)


def test_the_target_follows_as_the_packages_does(monkeypatch):
    theirs, ours = both(monkeypatch, CROPS[0])
    theirs.update_moving_average()
    ours.update_moving_average()
    for name, value in theirs.target_encoder.state_dict().items():
        torch.testing.assert_close(ours.target_encoder.state_dict()[name], value)


def test_arguments_and_defaults_are_the_packages():
    ours, theirs = (dict(inspect.signature(cls.__init__).parameters) for cls in (PixelCL, package.PixelCL))
    assert list(ours)[: len(theirs)] == list(theirs)
    assert {name: ours[name].default for name in theirs} == {name: theirs[name].default for name in theirs}
    assert set(ours) - set(theirs) == {"crops", "seed"}


def test_propagation_is_the_packages():
    theirs, ours = package.PPM(chan=4, num_layers=1, gamma=2), PPM(chan=4, num_layers=1, gamma=2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-4)
