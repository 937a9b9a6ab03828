import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.cnn import TorchvisionBackbone
from pixgraph.backbones.weights import fit_weights, read_weights
from pixgraph.config import BackboneConfig
from pixgraph.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def squeezenet():
    from torchvision.models import squeezenet1_1

    return squeezenet1_1(weights=None)


def test_features_whole_network_and_state_dict_files_give_the_same_backbone(tmp_path, squeezenet):
    features = {k: v.clone() for k, v in squeezenet.features.state_dict().items()}
    save_file(features, tmp_path / "features.safetensors", {"pretrained_on": "pebbles"})
    torch.save({"state_dict": squeezenet.state_dict()}, tmp_path / "whole.pth")
    torch.save({f"module.{k}": v for k, v in squeezenet.state_dict().items()}, tmp_path / "parallel.bin")
    built = [
        build_backbone(BackboneConfig("squeezenet1_1", str(tmp_path / name)))
        for name in ("features.safetensors", "whole.pth", "parallel.bin")
    ]
    assert len({b.fingerprint for b in built}) == 1
    assert built[0].pretrained_on == "pebbles"
    assert built[1].pretrained_on == "weights file whole.pth"
    x = torch.rand(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(built[0](x), built[1](x), strict=True))
    expected = squeezenet.features[:5]((x - built[0].mean) / built[0].std)
    assert torch.allclose(built[0](x)[0], expected, atol=1e-5)


def test_a_folder_with_weights(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    assert list(read_weights(tmp_path)[0]) == ["a"]
    save_file({"b": torch.ones(2)}, tmp_path / "two.safetensors")
    with pytest.raises(CheckpointError, match=r"a folder with 2 safetensors files, expected backbone.safetensors"):
        read_weights(tmp_path)
    save_file({"c": torch.ones(2)}, tmp_path / "backbone.safetensors")
    assert list(read_weights(tmp_path)[0]) == ["c"]


def _truncated(source, target, keep):
    target.write_bytes(source.read_bytes()[:keep])
    return target


class _Bomb:
    def __reduce__(self):
        return print, ("this must never run",)


def test_broken_files_say_so_in_one_line(tmp_path, capsys):
    good = tmp_path / "good.safetensors"
    save_file({"a": torch.ones(1000)}, good)
    torch.save({"a": torch.ones(1000)}, tmp_path / "good.pth")
    (tmp_path / "empty").touch()
    for name in ("text", "text.safetensors", "text.pth"):
        (tmp_path / name).write_text("these are no weights, but words")
    (tmp_path / "bomb").write_bytes(pickle.dumps(_Bomb()))
    torch.save(_Bomb(), tmp_path / "bomb.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "plain.pth")
    cases = {
        tmp_path / "absent": "no such file, expected safetensors or a state_dict",
        tmp_path / "empty": "the file is empty",
        _truncated(good, tmp_path / "cut", 2000): "truncated or not a safetensors file",
        _truncated(tmp_path / "good.pth", tmp_path / "cut.pth", 2000): "truncated, or neither safetensors nor",
        tmp_path / "bomb": "pickled code .* never run",
        tmp_path / "bomb.pth": "pickled code .* never run",
        **{tmp_path / f"text{end}": "truncated, or neither safetensors nor" for end in ("", ".safetensors", ".pth")},
        tmp_path / "list.pth": "holds a list, expected a dict of tensors",
        tmp_path / "plain.pth": "holds no tensors",
    }
    for path, words in cases.items():
        with pytest.raises(CheckpointError, match=words) as raised:
            read_weights(path)
        assert "\n" not in str(raised.value)
        assert str(path) in str(raised.value)
    assert capsys.readouterr().out == ""


def test_another_network_names_the_first_keys(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    state = net.state_dict()
    other = {
        "0.weight": torch.zeros(5, 5),
        "0.bias": state["0.bias"],
        "1.weight": state["1.weight"],
        "z": torch.ones(1),
    }
    words = r"keys 1 missing \(1.bias\); 1 unexpected \(z\); 1 of another shape \(0.weight\); give the file that fits"
    with pytest.raises(CheckpointError, match=words):
        fit_weights(net, other, "FILE", ("head.",))
    save_file({k: v.clone() for k, v in state.items()}, tmp_path / "w.safetensors")
    with pytest.raises(
        CheckpointError, match=r"another network than SqueezeNet: keys \d+ missing \(features.3.squeeze.weight"
    ):
        TorchvisionBackbone("squeezenet1_1", tmp_path / "w.safetensors")


def test_no_network_says_to_pass_a_file(monkeypatch):
    from urllib.error import URLError

    import torchvision.models

    def offline(name, weights):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision.models, "get_model", offline)
    with pytest.raises(CheckpointError, match=r"resnet18 cannot be fetched .*; pass --backbone.weights FILE"):
        build_backbone(BackboneConfig("resnet18"))


def test_unknown_name_lists_the_options():
    with pytest.raises(ConfigError, match=r"'mobilnet' is unknown; expected one of filters, .*mobilenet_v2.*timm:NAME"):
        build_backbone(BackboneConfig("mobilnet"))
    with pytest.raises(ConfigError, match="the filters have no weights"):
        build_backbone(BackboneConfig("filters", "file.pth"))
