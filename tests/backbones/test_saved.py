import pytest
import torch
from safetensors.torch import save_file

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.saved import FORMAT, check_name, saved_name, trained_layer
from pixgraph.config import BackboneConfig
from pixgraph.errors import CheckpointError, ConfigError

METADATA = {"format": FORMAT, "name": "resnet18", "layer": "layer2", "pretrained_on": "pebbles"}


def test_a_file_says_which_network_it_belongs_to(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "backbone.safetensors", METADATA)
    assert saved_name(tmp_path) == saved_name(tmp_path / "backbone.safetensors") == "resnet18"
    assert trained_layer(METADATA) == "layer2"
    assert trained_layer({**METADATA, "layer": ""}) is None


def test_other_files_do_not(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "plain.safetensors", {"name": "resnet18"})
    torch.save({"a": torch.ones(1)}, tmp_path / "state.pth")
    assert saved_name(tmp_path / "plain.safetensors") is None
    assert saved_name(tmp_path / "state.pth") is None
    assert trained_layer({"layer": "layer2"}) is None
    with pytest.raises(CheckpointError, match="no such file"):
        saved_name(tmp_path / "absent")


def test_empty_and_truncated_files_say_so(tmp_path):
    save_file({"a": torch.ones(1000)}, tmp_path / "whole.safetensors", METADATA)
    whole = (tmp_path / "whole.safetensors").read_bytes()
    for size, words in (
        (0, "the file is empty"),
        (5, "truncated or not a safetensors file"),
        (900, "truncated or not"),
    ):
        path = tmp_path / f"w{size}.safetensors"
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=rf"weights .*w{size}\.safetensors: {words}"):
            build_backbone(BackboneConfig(weights=str(path)))


def test_names_must_agree():
    check_name(METADATA, "resnet18", "FILE")
    check_name({"name": "resnet18"}, "resnet50", "FILE")  # not a file of ours
    with pytest.raises(ConfigError, match=r"weights FILE belong to backbone resnet18, .* asked for is resnet50"):
        check_name(METADATA, "resnet50", "FILE")


def test_weights_without_a_name_need_one(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "state.pth")
    with pytest.raises(ConfigError, match=r"the filters have no weights.*set --backbone.name"):
        build_backbone(BackboneConfig(weights=str(tmp_path / "state.pth")))


def test_another_name_than_the_files_own_is_refused(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "backbone.safetensors", METADATA)
    for name in ("mobilenet_v2", "unet-small"):
        with pytest.raises(ConfigError, match=f"belong to backbone resnet18, but the backbone asked for is {name}"):
            build_backbone(BackboneConfig(name, str(tmp_path)))
