import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.features import FeatureStore
from pixgraph.backbones.unet import UNetBackbone
from pixgraph.backbones.unet_networks import EncoderUNet, PlainUNet, is_unet
from pixgraph.config import BackboneConfig
from pixgraph.errors import ConfigError, DependencyError
from pixgraph.models.levels import coarse_levels


def test_levels_are_the_maps_of_the_decoder():
    backbone = UNetBackbone("unet-small", "random")
    assert backbone.channels == (16, 64, 128, 256)
    assert backbone.strides == (4, 4, 8, 16)
    x = torch.rand(2, 3, 64, 96)
    maps = backbone.network((x - backbone.mean) / backbone.std)
    found = backbone(x)
    assert [tuple(m.shape[2:]) for m in found] == [(16, 24), (16, 24), (8, 12), (4, 6)]
    assert torch.allclose(found[0], F.avg_pool2d(maps[0], 4), atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(found[1:], maps[2:], strict=True))


def test_one_vector_a_pixel_on_request():
    backbone = UNetBackbone("unet-small+pixels", "random")
    assert backbone.strides == (1, 4, 8, 16)
    assert backbone(torch.rand(1, 3, 48, 40))[0].shape == (1, 16, 48, 40)


@pytest.mark.parametrize("name", ["unet-small", "unet-small+pixels"])
def test_sides_that_are_no_multiples(name):
    backbone = UNetBackbone(name, "random")
    x = torch.rand(1, 3, 45, 61)
    filled = F.pad(x, (0, 3, 0, 3), mode="replicate")
    for small, full, stride in zip(backbone(x), backbone(filled), backbone.strides, strict=True):
        assert small.shape[2:] == (-(-45 // stride), -(-61 // stride))
        rows, columns = 45 // stride, 61 // stride  # a last cell may average fewer pixels
        assert torch.allclose(small[..., :rows, :columns], full[..., :rows, :columns], atol=1e-5)


def test_the_plain_unet_is_its_definition():
    network = PlainUNet(4).eval()
    x = torch.rand(1, 3, 32, 32)
    skips = [x]
    for i, block in enumerate(network.down):
        skips.append(block(skips[-1] if i == 0 else F.max_pool2d(skips[-1], 2)))
    y, expected = skips.pop(), []
    for i in (3, 2, 1, 0):
        expected.append(y)
        y = network.merge[i](torch.cat([skips.pop(), network.up[i](y)], 1))
    expected.append(y)
    assert [m.shape[1] for m in network(x)] == [4, 8, 16, 32, 64]
    assert all(torch.equal(a, b) for a, b in zip(network(x), reversed(expected), strict=True))
    assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize(
    "name", ["resnet18", "mit_b0", "tu-mobilenetv3_small_050", pytest.param("vgg11", marks=pytest.mark.slow)]
)
def test_the_decoder_is_that_of_the_library(name):
    smp = pytest.importorskip("segmentation_models_pytorch")
    network = EncoderUNet(name).eval()
    published = smp.Unet(name, encoder_weights=None).eval()
    published.load_state_dict(network.state_dict(), strict=False)
    x = torch.rand(1, 3, 64, 64)
    maps = network(x)
    assert torch.allclose(maps[0], published.decoder(published.encoder(x)), atol=1e-5)
    assert [64 // m.shape[2] for m in maps] == [1, 2, 4, 8, 16, 32]


def test_weights_of_the_library_fit(tmp_path):
    smp = pytest.importorskip("segmentation_models_pytorch")
    published = smp.Unet("mobilenet_v2", encoder_weights=None).eval()
    torch.save(published.state_dict(), tmp_path / "unet.pth")
    backbone = build_backbone(BackboneConfig("unet:mobilenet_v2+pixels", str(tmp_path / "unet.pth")))
    x = torch.rand(1, 3, 64, 64)
    normalised = (x - backbone.mean) / backbone.std
    assert torch.allclose(backbone(x)[0], published.decoder(published.encoder(normalised)), atol=1e-5)


def test_all_levels_of_a_unet_carry_evidence():
    maps = UNetBackbone("unet-small", "random")(torch.rand(1, 3, 64, 64))
    assert coarse_levels(maps, 64) == [0, 1, 2, 3]


def test_features_of_a_unet_are_stored(tmp_path):
    import numpy as np

    store = FeatureStore(UNetBackbone("unet-small+pixels", "random"), 32, tmp_path)
    rgb = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    fresh = store.from_image(rgb)
    read = FeatureStore(store.backbone, 32, tmp_path).from_image(rgb)
    assert fresh.features[0].shape == (16, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(fresh.features, read.features, strict=True))


def test_names():
    assert is_unet("unet-small")
    assert is_unet("unet:resnet18")
    assert not is_unet("resnet18")
    with pytest.raises(ConfigError, match="unet has no ImageNet weights"):
        build_backbone(BackboneConfig("unet"))


def test_the_library_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(DependencyError, match=r"pip install 'pixgraph\[smp\]'"):
        UNetBackbone("unet:resnet18", "random")
