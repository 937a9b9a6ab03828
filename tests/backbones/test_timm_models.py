import pytest
import torch
from safetensors.torch import save_file

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.timm_models import TimmBackbone
from pixgraph.config import BackboneConfig
from pixgraph.errors import CheckpointError, ConfigError, DependencyError

timm = pytest.importorskip("timm")


def test_a_cnn_gives_its_stages(tmp_path):
    network = timm.create_model("mobilenetv3_small_050")
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    backbone = build_backbone(BackboneConfig("timm:mobilenetv3_small_050", str(tmp_path / "w.safetensors")))
    assert backbone.strides == (4, 8, 16, 32)
    x = torch.rand(1, 3, 64, 64)
    expected = network.eval().forward_intermediates((x - backbone.mean) / backbone.std, intermediates_only=True)
    assert torch.allclose(backbone(x)[-1], expected[-1], atol=1e-5)


def test_a_vision_transformer_gives_dense_maps_at_any_size():
    backbone = TimmBackbone("timm:vit_tiny_patch16_224", "random")
    assert backbone.levels == ("stage 2", "stage 5", "stage 8", "stage 11")
    assert backbone.channels == (192,) * 4
    assert backbone.strides == (16,) * 4
    assert [tuple(m.shape) for m in backbone(torch.rand(1, 3, 70, 64))] == [(1, 192, 4, 4)] * 4


def test_a_model_of_one_size_gets_the_picture_resized():
    backbone = TimmBackbone("timm:mixer_s32_224", "random")
    assert backbone(torch.rand(1, 3, 128, 128))[0].shape == (1, 512, 7, 7)


def test_errors(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"'timm:resnet19' is unknown to timm .*; did you mean .*resnet18"):
        TimmBackbone("timm:resnet19", "random")
    save_file({"x": torch.ones(1)}, tmp_path / "w.safetensors")
    with pytest.raises(
        CheckpointError, match=r"another network than MobileNetV3: keys .* missing .*1 unexpected \(x\)"
    ):
        TimmBackbone("timm:mobilenetv3_small_050", tmp_path / "w.safetensors")

    def offline(*args, **kwargs):
        raise OSError("We couldn't connect\nto the hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        CheckpointError, match=r"cannot be fetched \(We couldn't connect\); pass --backbone.weights FILE"
    ):
        TimmBackbone("timm:mobilenetv3_small_050")
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(DependencyError, match=r"needs the package timm; pip install 'pixgraph\[timm\]'"):
        TimmBackbone("timm:mobilenetv3_small_050")
