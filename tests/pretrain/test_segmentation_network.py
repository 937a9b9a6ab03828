import pytest
import torch
import torch.nn.functional as F

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.deeplab_networks import DeepLab
from pixgraph.config import BackboneConfig
from pixgraph.errors import CheckpointError, ConfigError
from pixgraph.pretrain.encoders import save_backbone
from pixgraph.pretrain.reco.config import RecoConfig
from pixgraph.pretrain.reco.method import ReCo
from pixgraph.pretrain.segmentation_network import build_segmentation_network
from pixgraph.pretrain.spml.config import SPMLConfig
from pixgraph.pretrain.spml.method import SPML

NAME = "deeplabv3plus:mobilenet_v2"
smp = pytest.importorskip("segmentation_models_pytorch")


@pytest.fixture(scope="module")
def deeplab():
    return build_segmentation_network(NAME, "random", 5, 12, seed=3).eval()


@torch.no_grad()
def test_a_deeplab_gives_both_maps_at_a_quarter(deeplab):
    logits, embedding = deeplab(torch.rand(2, 3, 64, 96))
    assert logits.shape == (2, 5, 16, 24)
    assert embedding.shape == (2, 12, 16, 24)


@torch.no_grad()
def test_sides_that_are_no_multiples_are_filled_up(deeplab):
    x = torch.rand(1, 3, 45, 61)
    for small, full in zip(deeplab(x), deeplab(F.pad(x, (0, 3, 0, 3), mode="replicate")), strict=True):
        assert small.shape[2:] == (12, 16)
        assert torch.allclose(small, full, atol=1e-5)


@torch.no_grad()
def test_a_unet_classifies_pixels_and_embeds_cells():
    network = build_segmentation_network("unet-small", "random", 5, 12).eval()
    x = torch.rand(2, 3, 40, 56)
    logits, embedding = network(x)
    assert logits.shape == (2, 5, 40, 56)
    assert embedding.shape == (2, 12, 10, 14)
    encoded = build_segmentation_network("unet:mobilenet_v2", "random", 3, 4)
    assert encoded.eval()(x)[0].shape == (2, 3, 40, 56)


@torch.no_grad()
def test_the_decoder_is_that_of_the_library():
    network = DeepLab("mobilenet_v2").eval()
    published = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None, decoder_atrous_rates=(6, 12, 18)).eval()
    published.load_state_dict(network.state_dict(), strict=False)
    x = torch.rand(1, 3, 64, 64)
    maps = network(x)
    assert torch.allclose(maps.decoded, published.decoder(published.encoder(x)), atol=1e-5)
    assert maps.embedding is None
    assert [64 // m.shape[2] for m in maps.encoded] == [8, 16, 16]


def test_the_seed_decides_about_the_weights_and_leaves_the_global_generator():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, same, other = (build_segmentation_network("unet-small", "random", 3, 4, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


@torch.no_grad()
@pytest.mark.parametrize("name", [NAME, "unet-small"])
def test_the_saved_backbone_computes_what_the_network_did(tmp_path, name, deeplab):
    network = deeplab if name == NAME else build_segmentation_network(name, "random", 5, 12).eval()
    save_backbone(network, tmp_path, "tests")
    backbone = build_backbone(BackboneConfig(weights=str(tmp_path)))
    assert backbone.name == name
    assert backbone.pretrained_on == "tests"
    x = torch.rand(2, 3, 48, 80)
    found = network.network((x - network.mean) / network.std)
    if name == NAME:
        assert backbone.levels[0] == "embedding"
        assert backbone.strides == (4, 8, 8, 16, 16)
        assert torch.equal(backbone(x)[0], network(x)[1])
        assert torch.equal(backbone(x)[1], F.avg_pool2d(found.decoded, 2))
        assert all(torch.equal(a, b) for a, b in zip(backbone(x)[2:], found.encoded, strict=True))
    else:
        assert torch.equal(backbone(x)[1], found[2])


@torch.no_grad()
def test_levels_of_pictures_that_are_no_multiples(deeplab, tmp_path):
    save_backbone(deeplab, tmp_path, "tests")
    backbone = build_backbone(BackboneConfig(weights=str(tmp_path)))
    shapes = [tuple(m.shape[2:]) for m in backbone(torch.rand(1, 3, 45, 61))]
    assert shapes == [(12, 16), (6, 8), (6, 8), (3, 4), (3, 4)]


def test_weights_of_an_encoder_of_the_library_and_of_a_run(tmp_path, deeplab):
    published = smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None, decoder_atrous_rates=(6, 12, 18))
    torch.save(published.encoder.state_dict(), tmp_path / "encoder.pth")
    torch.save(published.state_dict(), tmp_path / "whole.pth")
    save_backbone(deeplab, tmp_path / "run.safetensors", "tests")
    encoder = build_segmentation_network(NAME, tmp_path / "encoder.pth", 5, 12)
    assert encoder.pretrained_on == "weights file encoder.pth (encoder), nothing (decoder)"
    assert _equal(encoder.network.encoder, published.encoder)
    whole = build_segmentation_network(NAME, tmp_path / "whole.pth", 5, 12)
    assert _equal(whole.network.decoder, published.decoder)
    same = build_segmentation_network(NAME, tmp_path / "run.safetensors", 7, 12)
    assert _equal(same.network, deeplab.network)
    narrower = build_segmentation_network(NAME, tmp_path / "run.safetensors", 7, 6)
    assert _equal(narrower.network.decoder, deeplab.network.decoder)
    assert narrower.network.representation[-1].out_channels == 6


def test_mistakes_are_told(tmp_path, deeplab):
    with pytest.raises(ConfigError, match="'vit': cannot be trained to segment; expected one of deeplabv3plus:ENC"):
        build_segmentation_network("vit", None, 3)
    with pytest.raises(ConfigError, match="'deeplabv3plus:mobilenet_v9': no such encoder; did you mean mobilenet_v2"):
        build_segmentation_network("deeplabv3plus:mobilenet_v9", "random", 3)
    with pytest.raises(ConfigError, match="'deeplabv3plus:vgg11': cannot be built"):
        build_segmentation_network("deeplabv3plus:vgg11", "random", 3)
    save_backbone(deeplab, tmp_path, "tests")
    with pytest.raises(ConfigError, match="belong to backbone deeplabv3plus:mobilenet_v2"):
        build_segmentation_network("unet-small", tmp_path, 3)
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="belong to another network"):
        build_segmentation_network(NAME, tmp_path / "a.pth", 3)


def _equal(one, other):
    return all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


@pytest.mark.parametrize(
    ("name", "end", "method", "untrained", "left_out"),
    [
        (NAME, 1, lambda n: SPML(n, SPMLConfig()), "decoder.block2", ["decoder, mean of 2 x 2 cells"]),
        ("unet-small", 1, lambda n: SPML(n, SPMLConfig()), "merge.0", ["decoder, mean of 4 x 4 pixels"]),
        (NAME, 0, lambda n: ReCo(n, RecoConfig(reco=False)), "representation", ["embedding"]),
    ],
)
def test_a_backbone_has_no_level_that_was_never_trained(name, end, method, untrained, left_out, tmp_path):
    network = build_segmentation_network(name, "random", 3, 4)
    folders = [tmp_path / "all", tmp_path / "embedding"]
    for folder in folders:
        folder.mkdir()
        save_backbone(network, folder, "pebbles")
        method(network)  # from now on one end alone is trained
    network(torch.rand(2, 3, 64, 64))[end].sum().backward()
    still = {key for key, p in network.network.named_parameters() if p.grad is None}
    assert any(key.startswith(untrained) for key in still)
    assert not any(key.startswith("encoder") for key in still)
    whole, part = (build_backbone(BackboneConfig(name, str(folder))) for folder in folders)
    assert [level for level in whole.levels if level not in part.levels] == left_out
    assert whole.fingerprint != part.fingerprint
    x = torch.rand(1, 3, 45, 61)
    maps = dict(zip(whole.levels, whole(x), strict=True))
    assert all(torch.equal(maps[level], m) for level, m in zip(part.levels, part(x), strict=True))
    assert len(part.channels) == len(part.strides) == len(part.levels)


@pytest.mark.parametrize("name", [NAME, "deeplabv3plus:resnet18"])
def test_one_picture_alone_cannot_be_normalised(name):
    network = build_segmentation_network(name, "random", 3, 4)
    with pytest.raises(ConfigError, match=r"a batch of 1 picture of 64 x 64 pixels .*; take a larger optim\.batch"):
        network(torch.rand(1, 3, 64, 64))
