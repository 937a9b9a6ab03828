import copy
import pickle

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.cnn import LEVELS, TorchvisionBackbone
from pixgraph.config import BackboneConfig


def test_mobilenet_v2_levels():
    backbone = TorchvisionBackbone("mobilenet_v2", "random")
    assert backbone.channels == (24, 32, 64, 96, 160, 320)
    assert backbone.strides == (4, 8, 16, 16, 32, 32)
    assert [tuple(m.shape[2:]) for m in backbone(torch.rand(2, 3, 96, 64))] == [
        (24, 16), (12, 8), (6, 4), (6, 4), (3, 2), (3, 2)
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "resnet18", "efficientnet_b0"])
def test_levels_go_from_fine_to_coarse(name):
    backbone = TorchvisionBackbone(name, "random")
    assert len(backbone.channels) == len(LEVELS[name])
    assert list(backbone.strides) == sorted(backbone.strides)
    assert backbone.strides[0] == 4
    assert set(backbone.strides) <= {4, 8, 16, 32}


def test_frozen_and_always_in_evaluation_mode():
    backbone = TorchvisionBackbone("mobilenet_v3_small", "random")
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    backbone.train()
    assert not backbone.training
    maps = backbone(torch.rand(2, 3, 64, 64, requires_grad=True))
    assert not any(m.requires_grad for m in maps)
    assert not any(p.requires_grad for p in backbone.parameters())
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda backbone: pickle.loads(pickle.dumps(backbone))])
def test_copies_are_frozen_and_give_the_same_maps(copied):
    backbone = build_backbone(BackboneConfig(name="mobilenet_v2", weights="random"))
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    other = copied(backbone)
    assert not any(module.training for module in other.modules())
    for one, same in zip(backbone(x), other(x), strict=True):
        assert torch.equal(one, same)


def test_fingerprint_follows_the_weights():
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(TorchvisionBackbone("squeezenet1_1", "random").fingerprint)
    assert len(found[0]) == 12
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_folded_normalisation_gives_the_maps_of_the_plain_network(tmp_path, name):
    torch.manual_seed(0)
    plain = get_model(name, weights=None)
    for norm in (m for m in plain.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(std=0.2)
        norm.running_var.uniform_(0.5, 2)
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
        torch.nn.init.normal_(norm.bias, std=0.2)
    torch.save(plain.state_dict(), tmp_path / "weights.pt")
    backbone = TorchvisionBackbone(name, tmp_path / "weights.pt")
    x = torch.rand(2, 3, 64, 96)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        backbone(x)
    assert not any("batch_norm" in event.key for event in seen.key_averages())
    body = create_feature_extractor(plain.eval(), list(LEVELS[name]))
    with torch.no_grad():
        expected = list(body((x - backbone.mean) / backbone.std).values())
    for found, level in zip(backbone(x), expected, strict=True):
        assert found.is_contiguous()
        torch.testing.assert_close(found, level, rtol=1e-4, atol=1e-4 * float(level.abs().max()))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mobilenet_v2", "mobilenet_v2_imagenet.safetensors"),
        ("squeezenet1_1", "squeezenet1_1_features_imagenet.safetensors"),
    ],
)
def test_real_weights(data_root, name, file):
    backbone = build_backbone(BackboneConfig(name, str(data_root / "weights" / file)))
    assert file in backbone.pretrained_on
    assert all(torch.isfinite(m).all() for m in backbone(torch.rand(1, 3, 64, 64)))
