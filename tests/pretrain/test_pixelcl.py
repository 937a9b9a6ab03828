import copy
import subprocess
import sys

import pytest
import torch
from small_net import small_net
from torch import nn

from pixgraph.errors import ConfigError
from pixgraph.pretrain import PixelCL
from pixgraph.pretrain.pixelcl import COLOURS, MEAN, STD, DefaultAugment
from pixgraph.pretrain.pixelcl_crops import Crops


def learner(net=None, **options):
    sizes = {"hidden_layer_pixel": "layer4", "projection_size": 8, "projection_hidden_size": 16, "seed": 0}
    return PixelCL(small_net() if net is None else net, 32, **{**sizes, **options})


def images(count=4, size=32, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("crops", ["batch", "image"])
@pytest.mark.parametrize("use_pixpro", [True, False])
def test_a_training_learns(use_pixpro, crops):
    torch.manual_seed(0)
    model = learner(use_pixpro=use_pixpro, crops=crops)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    values = []
    for step in range(30):
        loss, pairs = model(images(seed=step), return_positive_pairs=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_moving_average()
        values.append(loss.item())
    assert int(pairs) > 0
    assert sum(values[-5:]) < sum(values[:5]) - 1


def test_the_documented_use_runs(tmp_path):
    # The arguments, their order and the calls of the package's own example.
    resnet = small_net()
    model = PixelCL(
        resnet,
        image_size=32,
        hidden_layer_pixel="layer4",
        hidden_layer_instance=-2,
        projection_size=16,
        projection_hidden_size=32,
        moving_average_decay=0.99,
        ppm_num_layers=1,
        ppm_gamma=2,
        distance_thres=0.7,
        similarity_temperature=0.3,
        alpha=1.0,
        use_pixpro=True,
        cutout_ratio_range=(0.6, 0.8),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    for _ in range(2):
        loss = model(torch.randn(10, 3, 32, 32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.update_moving_average()
    torch.save(resnet, tmp_path / "improved.pt")  # no hook holds on to the learner
    assert (tmp_path / "improved.pt").stat().st_size < 20_000


def test_the_constructor_makes_all_parameters_and_leaves_the_network_alone():
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    model = learner(net)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    names = set(dict(model.named_parameters()))
    model(images())
    assert set(dict(model.named_parameters())) == names
    assert model.online_encoder.net is net
    heads = {"online_encoder.pixel_projector.net.0.weight", "target_encoder.instance_projector.net.3.bias"}
    assert {*heads, "online_predictor.net.1.weight", "propagate_pixels.transform_net.weight"} <= names


def test_the_network_keeps_its_batch_statistics_until_it_trains():
    net = small_net()
    model = learner(net)
    assert net.layer4[0].num_batches_tracked == 0
    model(images())
    assert net.layer4[0].num_batches_tracked == 2
    assert model.target_encoder.net.layer4[0].num_batches_tracked == 2  # the target gathers its own


def test_the_target_follows_by_its_closed_form():
    model = learner(moving_average_decay=0.9)
    start = copy.deepcopy(list(model.target_encoder.parameters()))
    with torch.no_grad():
        for p in model.online_encoder.parameters():
            p.add_(1.0)
    for _ in range(5):
        model.update_moving_average()
    for before, after in zip(start, model.target_encoder.parameters(), strict=True):
        torch.testing.assert_close(after, before + 1 - 0.9**5)
        assert not after.requires_grad
    model.reset_moving_average()
    for own, followed in zip(model.online_encoder.parameters(), model.target_encoder.parameters(), strict=True):
        assert torch.equal(own, followed)


def test_gradients_reach_the_online_side_alone():
    model = learner()
    model(images()).backward()
    assert all(p.grad is None for p in model.target_encoder.parameters())
    used = [p for name, p in model.named_parameters() if not name.startswith("target") and ".fc." not in name]
    assert all(p.grad is not None for p in used)


def test_no_pair_leaves_the_instance_loss_and_all_gradients():
    model = learner(alpha=5.0)
    apart = Crops([(0, 0, 8, 8)], [False]), Crops([(24, 24, 8, 8)], [False])
    loss, pairs = model(images(), return_positive_pairs=True, crops=apart)
    assert pairs == 0
    assert 0 <= loss.item() <= 8
    loss.backward()
    # Zeros, not nothing: distributed training waits for every gradient.
    assert model.online_encoder.pixel_projector.net[0].weight.grad.abs().max() == 0
    assert model.propagate_pixels.transform_net.weight.grad.abs().max() == 0


def test_alpha_weights_the_pixel_loss():
    crops = Crops([(0, 0, 24, 24)], [False]), Crops([(4, 4, 24, 24)], [True])
    model = learner(augment_fn=nn.Identity())
    values = []
    for alpha in (0.0, 1.0, 3.0):
        model.alpha = alpha
        values.append(model(images(), crops=crops).item())
    assert values[2] - values[0] == pytest.approx(3 * (values[1] - values[0]), abs=1e-5)
    assert -1 <= values[1] - values[0] <= 1


def test_the_same_seed_gives_the_same_losses_whatever_else_is_drawn():
    first, second = learner(seed=1), learner(seed=1)
    second.load_state_dict(first.state_dict())
    one = first(images()).item()
    torch.rand(5)
    assert second(images()).item() == one
    state = torch.get_rng_state()
    first(images())
    assert torch.equal(torch.get_rng_state(), state)


def test_pairs_are_counted_a_picture_or_over_the_batch():
    box = (0, 0, 24, 24)
    together, apart = Crops([box], [False]), Crops([box] * 4, [False] * 4)
    model = learner(augment_fn=nn.Identity()).eval()
    one, count = model(images(), return_positive_pairs=True, crops=(together, together))
    each, total = model(images(), return_positive_pairs=True, crops=(apart, apart))
    assert total == 4 * count
    assert one.item() == pytest.approx(each.item(), abs=1e-6)


def test_large_maps_fit():
    # One similarity of C = 64 channels for each pair of 32 x 32 cells would be 256 MB a picture.
    model = PixelCL(small_net(stride=1), 32, "layer4", projection_size=64, projection_hidden_size=16, seed=0)
    model(images(2)).backward()


def test_default_colours_are_normalised_and_differ_by_picture():
    import numpy as np

    same = images(1).expand(6, -1, -1, -1)
    found = DefaultAugment(np.random.default_rng(0))(same * 3 - 1)
    back = found * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    assert -1e-5 <= back.min() <= back.max() <= 1 + 1e-5
    assert len({round(float(x.mean()), 4) for x in back}) > 3
    assert COLOURS.solarize == 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cutout_ratio_range": (0.8, 0.6)}, r"cutout_ratio_range: got \(0.8, 0.6\), expected 0 < smallest"),
        ({"moving_average_decay": 1.5}, "moving_average_decay: got 1.5, expected a share"),
        ({"similarity_temperature": 0.0}, "similarity_temperature: got 0.0, expected more than 0"),
        ({"crops": "each"}, "crops: got 'each', expected 'batch' or 'image'"),
        ({"hidden_layer_pixel": "layer9"}, "got 'layer9', expected a module of the network"),
        ({"ppm_num_layers": 4}, "expected 0, 1 or 2 layers"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        learner(**options)


def test_batches_that_cannot_work_are_refused():
    model = learner()
    with pytest.raises(ConfigError, match="got one picture, expected two or more: batch norm"):
        model(images(1))
    with pytest.raises(ConfigError, match=r"got torch.float32 of shape \(3, 32, 32\), expected floats of shape"):
        model(images()[0])
    assert model.eval()(images(1)).isfinite()


def test_the_class_is_imported_when_asked_for():
    code = "import sys, pixgraph.pretrain as p; assert 'torch' not in sys.modules and p.__all__"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    import pixgraph.pretrain

    with pytest.raises(AttributeError, match="has no attribute 'Pixel'"):
        pixgraph.pretrain.Pixel  # noqa: B018
