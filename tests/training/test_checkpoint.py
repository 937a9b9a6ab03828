"""Checkpoints are whole or absent, hold data only, and every broken one is refused in one line."""

import contextlib
import pickle
import resource
import zipfile

import pytest
import torch
from torch import nn

from pixgraph.cli.main import main
from pixgraph.errors import CheckpointError, ConfigError
from pixgraph.training import atomic
from pixgraph.training.checkpoint import (
    find_checkpoint,
    load_checkpoint,
    load_network,
    load_weights,
    save_checkpoint,
)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (eval, (f"open({str(self.target)!r}, 'w').close()",))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "last.pt"


@pytest.fixture
def saved(path):
    save_checkpoint(path, {"network": {"w": torch.arange(1000.0)}, "step": 3, "best": None, "config": {"a": [1, "x"]}})
    return path


def one_line(error):
    return "\n" not in str(error.value)


def test_round_trip(saved):
    state = load_checkpoint(saved)
    assert state["step"] == 3
    assert state["config"] == {"a": [1, "x"]}
    assert torch.equal(state["network"]["w"], torch.arange(1000.0))
    assert torch.load(saved, weights_only=True)["step"] == 3
    assert [p.name for p in saved.parent.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_an_interrupted_save_keeps_the_old_file_and_leaves_nothing(saved, monkeypatch, function):
    before = saved.read_bytes()

    def broken(*_):
        raise KeyboardInterrupt("pulled plug")

    if function == "fsync":
        monkeypatch.setattr(atomic.os, "fsync", broken)
    else:
        monkeypatch.setattr(atomic.Path, "replace", broken)
    with pytest.raises(KeyboardInterrupt, match="pulled plug"):
        save_checkpoint(saved, {"step": 4})
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["last.pt"]


def test_a_full_disk_names_the_path_and_keeps_the_old_file(saved):
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(
            CheckpointError, match=r"cannot write checkpoint .*last\.pt: .*; the previous one is unt"
        ) as e:
            save_checkpoint(saved, {"network": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert one_line(e)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["last.pt"]


def test_a_folder_that_cannot_be_written_raises(path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic.Path, "open", refuse)  # file modes do not stop a root user
    with pytest.raises(CheckpointError, match="Permission denied; the previous one is untouched"):
        save_checkpoint(path, {"step": 1})


@pytest.mark.parametrize("value", [{1, 2}, torch.float32, object()])
def test_a_state_that_could_not_be_read_back_is_refused(path, value):
    with pytest.raises(CheckpointError, match=r"state\['deep'\]\[1\] is a \w+; expected tensors, numbers"):
        save_checkpoint(path, {"deep": [0, value]})
    assert not path.exists()


@pytest.mark.parametrize("keep", [1, 10, 1000, -1])
def test_truncated(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(
        CheckpointError, match=r"last\.pt is (truncated|not a checkpoint of pixgraph) \(\d+ bytes\)"
    ) as e:
        load_checkpoint(saved)
    assert one_line(e)


def test_empty(path):
    path.touch()
    with pytest.raises(CheckpointError, match=r"last\.pt is empty \(0 bytes\); take another one, such as previous\.pt"):
        load_checkpoint(path)


def test_missing_and_folder(path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*last\.pt; expected a run folder"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"cannot read checkpoint .*: Is a directory"):
        load_checkpoint(path.parent)


def test_a_flipped_bit_is_noticed(saved):
    data = bytearray(saved.read_bytes())
    data[data.find(torch.arange(1000.0).numpy().tobytes()) + 100] ^= 8
    saved.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"is damaged: the checksum of its part 'last/data/0'|is damaged"):
        load_checkpoint(saved)


def test_pickled_code_is_refused_and_never_run(path):
    target = path.with_name("ran")
    torch.save({"format": "pixgraph checkpoint", "version": 1, "network": Bomb(target)}, path)
    with pytest.raises(CheckpointError, match="holds pickled code or objects, which pixgraph never executes") as e:
        load_checkpoint(path)
    assert one_line(e)
    path.write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(CheckpointError, match="is not a checkpoint of pixgraph"):
        load_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize("content", [{"state_dict": {}}, torch.zeros(3), [1]])
def test_other_files_of_torch(path, content):
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="is not a checkpoint of pixgraph: it has no entry 'format'"):
        load_checkpoint(path)


def test_other_files(path):
    path.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"is not a checkpoint of pixgraph \(16 bytes\)"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="is not a checkpoint of pixgraph: "):
        load_checkpoint(path)


def test_a_newer_version(path):
    torch.save({"format": "pixgraph checkpoint", "version": 99, "pixgraph": "9.9"}, path)
    with pytest.raises(CheckpointError, match=r"written by a newer pixgraph \(9\.9, layout 99\).*upgrade pixgraph"):
        load_checkpoint(path)


def test_random_damage_raises_documented_errors_only(saved):
    data = saved.read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        broken = bytearray(data)
        for place in torch.randint(len(data), (3,), generator=generator).tolist():
            broken[place] = int(torch.randint(256, (1,), generator=generator))
        saved.write_bytes(broken)
        # Damage outside the contents (padding, times) may go unnoticed.
        with contextlib.suppress(CheckpointError):
            load_checkpoint(saved)


def test_another_model(path):
    weights = {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}
    expected = r"another model: bias is missing; extra is unknown; weight has shape \(2, 4\) instead of \(2, 3\)"
    with pytest.raises(CheckpointError, match=expected):
        load_weights(nn.Linear(3, 2), weights, path)


def test_find_checkpoint_prefers_the_best(tmp_path):
    with pytest.raises(CheckpointError, match="no run or checkpoint at"):
        find_checkpoint(tmp_path / "missing")
    with pytest.raises(CheckpointError, match="holds no checkpoint; expected"):
        find_checkpoint(tmp_path)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "last.pt").touch()
    assert find_checkpoint(tmp_path) == folder / "last.pt"
    (folder / "best.pt").touch()
    assert find_checkpoint(tmp_path) == folder / "best.pt"
    assert find_checkpoint(folder / "last.pt") == folder / "last.pt"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            {},
            "last.pt has no config, channels, strides, backbone, network, step, average, best, expected the checkpoint",
        ),
        (
            {"config": 5, "network": {}, "step": 1, "best": None},
            "last.pt has no config, channels, strides, backbone, average, exp",
        ),
        ({"method": {}, "config": {}}, "last.pt is of a pretraining; pass it as --backbone.weights"),
    ],
)
def test_a_checkpoint_of_something_else(path, entries, words, capsys):
    save_checkpoint(path, entries)
    with pytest.raises(CheckpointError, match=words):
        load_network(path)
    (path.parent / "query.png").write_bytes(b"")
    places = ["--support", "s", "--query", str(path.parent / "query.png"), "--out", str(path.parent / "out")]
    assert main(["predict", *places, "--checkpoint", str(path)]) == 2
    assert words in capsys.readouterr().err


def test_a_run_folder_of_a_pretraining(path, capsys):
    (path.parent / "config.yaml").write_text("data: [x]\noptim: {steps: 3}\n")
    save_checkpoint(path, {"method": {}, "config": {}})
    assert main(["predict", "--support", "s", "--query", "q", "--out", "o", "--checkpoint", str(path.parent)]) == 2
    assert "is of a pretraining; pass it as --backbone.weights" in capsys.readouterr().err


def test_a_checkpoint_is_named_by_a_path():
    with pytest.raises(ConfigError, match=r"checkpoint: got 5, expected a run folder or a checkpoint file"):
        find_checkpoint(5)
