import copy

import pytest
import torch

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.cnn import LEVELS
from pixgraph.backbones.saved import saved_name
from pixgraph.config import BackboneConfig
from pixgraph.errors import CheckpointError, ConfigError
from pixgraph.pretrain.encoders import build_encoder, save_backbone

SMALL = "mobilenet_v3_small"


def _step(encoder):
    """A step that moves weights and batch statistics away from what a fresh network has."""
    torch.manual_seed(0)
    encoder.train()
    sum(m.square().mean() for m in encoder(torch.rand(2, 3, 64, 64))).backward()
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    return encoder


def test_a_cnn_gives_the_map_of_its_last_level_or_of_a_layer():
    encoder = build_encoder(SMALL, "random")
    assert encoder.layer == LEVELS[SMALL][-1]
    assert encoder.training
    assert (encoder.channels, encoder.strides) == ((96,), (32,))
    finer = build_encoder(SMALL, "random", "features.3")
    assert (finer.channels, finer.strides) == ((24,), (8,))
    assert finer(torch.rand(2, 3, 64, 48))[0].shape == (2, 24, 8, 6)
    operation = build_encoder(SMALL, "random", "features.2.block.0")
    assert operation.channels == (72,)
    assert repr(finer) == "TorchvisionEncoder('mobilenet_v3_small', layer='features.3', channels=(24,), strides=(8,))"


def test_everything_after_the_layer_is_removed():
    parameters = {name for name, _ in build_encoder("squeezenet1_1", "random", "features.4").named_parameters()}
    assert parameters
    assert all(int(name.split(".")[2]) <= 4 for name in parameters)


def test_normalisation_is_inside():
    encoder = build_encoder("squeezenet1_1", "random", "features.0").eval()
    x = torch.rand(1, 3, 32, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = torch.nn.functional.conv2d(
        (x - mean.view(3, 1, 1)) / std.view(3, 1, 1), *encoder.network.state_dict().values(), stride=2
    )
    assert torch.allclose(encoder(x)[0], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["unet-small", "unet:resnet18"])
def test_a_unet_gives_its_finest_map_and_its_bottleneck(name):
    pytest.importorskip("segmentation_models_pytorch")
    encoder = build_encoder(name, "random")
    channels, divisor = {"unet-small": ((16, 256), 16), "unet:resnet18": ((16, 512), 32)}[name]
    assert (encoder.channels, encoder.strides, encoder.divisor) == (channels, (1, divisor), divisor)
    finest, coarsest = encoder(torch.rand(2, 3, 64, 96))
    assert finest.shape == (2, channels[0], 64, 96)
    assert coarsest.shape == (2, channels[1], 64 // divisor, 96 // divisor)
    with pytest.raises(ConfigError, match=rf"pictures of 72 x 64 pixels, expected multiples of {divisor}"):
        encoder(torch.rand(1, 3, 64, 72))


def test_the_plain_unet_has_the_channels_of_the_paper():
    encoder = build_encoder("unet", "random")
    assert (encoder.channels, encoder.strides) == ((64, 1024), (1, 16))
    widths = [block[0].out_channels for block in encoder.network.down]
    assert widths == [64, 128, 256, 512, 1024]


def test_random_weights_follow_the_seed_alone():
    state = torch.random.get_rng_state()
    one, same = build_encoder("unet-small", "random", seed=3), build_encoder("unet-small", "random", seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = build_encoder("unet-small", "random", seed=4)
    key = "network.down.0.0.weight"
    assert torch.equal(one.state_dict()[key], same.state_dict()[key])
    assert not torch.equal(one.state_dict()[key], other.state_dict()[key])


@pytest.mark.parametrize(
    ("name", "layer"),
    [(SMALL, None), (SMALL, "features.8"), (SMALL, "features.5"), ("unet-small", None), ("unet:resnet18", None)],
)
def test_the_frozen_backbone_gives_the_maps_of_the_encoder(tmp_path, name, layer):
    pytest.importorskip("segmentation_models_pytorch")
    encoder = _step(build_encoder(name, "random", layer)).eval()
    assert save_backbone(encoder, tmp_path, "pebbles") == tmp_path / "backbone.safetensors"
    assert saved_name(tmp_path) == name
    plain = build_backbone(BackboneConfig(weights=str(tmp_path)))
    assert (plain.name, plain.pretrained_on) == (name, "pebbles")
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = encoder(x)
    if layer is None and "unet" in name:
        pixels = build_backbone(BackboneConfig(f"{name}+pixels", str(tmp_path)))
        assert torch.allclose(pixels(x)[0], expected[0], atol=1e-6)
        assert torch.allclose(plain(x)[0], torch.nn.functional.avg_pool2d(expected[0], 4), atol=1e-5)
    else:
        assert plain.levels[-1] == encoder.layer
        assert torch.allclose(plain(x)[-1], expected[-1], atol=1e-6)
        # Levels beyond the trained layer would be random.
        assert set(plain.levels) <= {*LEVELS[name], encoder.layer}
        assert plain.levels[:-1] == tuple(v for v in LEVELS[name] if int(v[9:]) < int(encoder.layer[9:]))


def test_a_copy_is_independent_and_the_same():
    encoder = build_encoder(SMALL, "random", "features.3").eval()
    twin = copy.deepcopy(encoder).eval()
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(encoder(x)[0], twin(x)[0])
    with torch.no_grad():
        next(iter(twin.parameters())).zero_()
    assert not torch.equal(encoder(x)[0], twin(x)[0])
    assert twin.train().training


def test_a_pretraining_starts_from_another_one(tmp_path):
    first = _step(build_encoder(SMALL, "random", "features.8"))
    save_backbone(first, tmp_path / "b.safetensors", "pebbles")
    second = build_encoder(SMALL, tmp_path / "b.safetensors")
    assert (second.layer, second.pretrained_on) == ("features.8", "pebbles")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert build_encoder(SMALL, tmp_path / "b.safetensors", "features.3").layer == "features.3"
    with pytest.raises(ConfigError, match=r"'features.11', but these weights of .* end with 'features.8'"):
        build_encoder(SMALL, tmp_path / "b.safetensors", "features.11")


def test_an_encoder_of_a_unet_takes_weights_of_the_plain_cnn(tmp_path):
    pytest.importorskip("segmentation_models_pytorch")
    from torchvision.models import resnet18

    torch.save(resnet18(weights=None).state_dict(), tmp_path / "cnn.pth")
    encoder = build_encoder("unet:resnet18", tmp_path / "cnn.pth")
    assert encoder.pretrained_on == "weights file cnn.pth (encoder), nothing (decoder)"
    expected = torch.load(tmp_path / "cnn.pth")["layer4.1.conv2.weight"]
    assert torch.equal(encoder.network.state_dict()["encoder.layer4.1.conv2.weight"], expected)


def test_unknown_layers_list_the_candidates():
    words = r"mobilenet_v3_small has no 'features.33'; did you mean features.3.* levels are features.1, .*blocks"
    with pytest.raises(ConfigError, match=words) as raised:
        build_encoder(SMALL, "random", "features.33")
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match=r"layer 'flatten' .*got shape \(1, 576\), expected a map"):
        build_encoder(SMALL, "random", "flatten")
    with pytest.raises(ConfigError, match="layer: got 'down', expected none"):
        build_encoder("unet-small", "random", "down")


def test_unknown_names_and_foreign_weights(tmp_path):
    with pytest.raises(ConfigError, match=r"'filters': cannot be pretrained; .*unet-small, or unet:ENCODER"):
        build_encoder("filters", None)
    with pytest.raises(ConfigError, match="unet has no ImageNet weights"):
        build_encoder("unet", None)
    save_backbone(build_encoder("unet-small", "random"), tmp_path / "w.safetensors", "pebbles")
    with pytest.raises(ConfigError, match="belong to backbone unet-small, but the backbone asked for is resnet18"):
        build_encoder("resnet18", tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="belong to backbone unet-small, but the backbone asked for is unet"):
        build_encoder("unet", tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        build_encoder("resnet18", tmp_path / "absent")


def test_an_unknown_encoder_of_a_unet_names_some():
    pytest.importorskip("segmentation_models_pytorch")
    with pytest.raises(ConfigError, match=r"'unet:resnet81': no such encoder; did you mean resnet18"):
        build_encoder("unet:resnet81", "random")
