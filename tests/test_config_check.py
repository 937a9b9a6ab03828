import dataclasses
import math
from typing import get_type_hints

import pytest

from pixgraph.config import Config, EpisodeConfig, GraphConfig, SourceConfig
from pixgraph.config_check import BOUNDS, Bounds, build, check, legal
from pixgraph.errors import ConfigError
from pixgraph.pretrain.config import PretrainConfig
from pixgraph.pretrain.reco.config import RecoConfig
from pixgraph.pretrain.spml.config import SPMLConfig


def test_defaults_are_legal():
    assert check(Config()) == Config()
    assert build(Config, {}) == Config()


def test_a_configuration_survives_plain_values():
    config = Config(extra=[SourceConfig("camvid", "x", exclude=["sky"])], run="r")
    assert build(Config, dataclasses.asdict(config)) == config


def test_every_number_has_bounds():
    numbers = []
    for section in dataclasses.fields(Config):
        value = getattr(Config(), section.name)
        if dataclasses.is_dataclass(value):
            pairs = [(f"{section.name}.{f.name}", getattr(value, f.name)) for f in dataclasses.fields(value)]
        else:
            pairs = [(section.name, value)]
        pairs += [("extra." + key.split(".")[1], value) for key, value in pairs if key.startswith("data.")]
        numbers += [key for key, number in pairs if isinstance(number, (int, float)) and not isinstance(number, bool)]
    hints = get_type_hints(EpisodeConfig) | get_type_hints(GraphConfig)
    assert [key for key, hint in hints.items() if hint == list[int]] == ["more_ways", "more_shots", "dilations"]
    numbers += ["episodes.more_ways", "episodes.more_shots", "graph.dilations"]
    assert set(numbers) <= set(BOUNDS)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sed": 1}, r"sed: unknown key \(value 1\); did you mean 'seed'\?"),
        ({"zzz": 1}, r"zzz: unknown key \(value 1\); known here: data, extra, "),
        ({"train": {"lr": "x"}}, r"train\.lr: got 'x', expected a number > 0"),
        ({"train": {"lr": True}}, r"train\.lr: got True, expected a number > 0"),
        ({"train": {"steps": 2.0}}, r"train\.steps: got 2\.0, expected a whole number >= 0"),
        ({"data": {"name": 3}}, r"data\.name: got 3, expected text"),
        ({"data": {"parts": "yes"}}, r"data\.parts: got 'yes', expected true or false"),
        ({"data": {"exclude": "sky"}}, r"data\.exclude: got 'sky', expected a list of: text"),
        ({"graph": {"sampling": "x"}}, r"graph\.sampling: got 'x', expected one of uniform, boundary, farthest"),
        ({"run": 3}, r"run: got 3, expected text"),
        ({"train": [1]}, r"train: expected a mapping of settings, got \[1\]"),
        ({"extra": [{"fold": "a"}]}, r"extra\.fold: got 'a', expected a whole number in \[0, 3\]"),
    ],
)
def test_wrong_values_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        build(Config, values)


def test_numbers_may_be_written_in_the_ways_of_yaml():
    assert build(Config, {"train": {"lr": "1e-3", "clip": 2}}).train.lr == 1e-3
    assert build(Config, {"train": {"lr": "1e-3", "clip": 2}}).train.clip == 2.0


@pytest.mark.parametrize("key", sorted(key for key in BOUNDS if "." in key and not key.startswith("extra.")))
def test_every_bound_is_enforced(key):
    section, name = key.split(".")
    known = [made for made in (Config(), PretrainConfig(), RecoConfig(), SPMLConfig()) if has(made, section, name)]
    assert known, "no configuration has this setting"
    for config in known:
        refuses_what_is_beyond(config, section, name, key)


def has(config, section, name):
    return hasattr(config, section) and hasattr(getattr(config, section), name)


def refuses_what_is_beyond(config, section, name, key):
    bounds = BOUNDS[key]
    beyond = bounds.low if bounds.open_low else bounds.low - 1
    value = [beyond] if isinstance(getattr(getattr(config, section), name), list) else beyond
    setattr(getattr(config, section), name, value)
    with pytest.raises(ConfigError, match=rf"{section}\.{name}: got .*expected .*{legal(type(config), key)[-4:-1]}"):
        check(config)


def test_labels_must_reach_a_query_by_evidence_or_by_attention():
    config = build(Config, {"model": {"decoder_blocks": 0}})
    assert check(config) is config
    config.model.evidence = False
    with pytest.raises(
        ConfigError, match=r"model\.decoder_blocks: got 0 with model\.evidence false, expected at least"
    ):
        check(config)


def test_settings_that_contradict_each_other():
    config = Config()
    config.model.heads = 5
    with pytest.raises(ConfigError, match=r"model\.width: got 64, expected a multiple of model\.heads = 5"):
        check(config)
    config = Config()
    config.graph.stride = 64
    with pytest.raises(ConfigError, match=r"graph\.dilations: got 4, expected less than the 4 nodes of a side"):
        check(config)
    config = Config()
    config.loss.unsup_form = "bgrl"
    with pytest.raises(ConfigError, match=r"model\.target: got False with loss\.unsup_form bgrl, expected True; the"):
        check(config)
    config.model.target = True
    assert check(config) is config
    config.loss.unsup_form = "grace"
    with pytest.raises(ConfigError, match=r"model\.target: got True with loss\.unsup_form grace, expected False"):
        check(config)


@pytest.mark.parametrize("device", ["cuda:", "gpu", "cuda:x", "", "CPU"])
def test_devices_that_do_not_exist(device):
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda, cuda:INDEX or mps"):
        check(Config(device=device))


def test_bounds_take_and_name_their_ends():
    assert 0 in Bounds(0, 1)
    assert 0 not in Bounds(0, 1, open_low=True)
    assert 1 not in Bounds(0, 1, open_high=True)
    assert math.nan not in Bounds(0)
    assert math.inf not in Bounds(0)
    assert "x" not in Bounds(0)
    assert [str(b) for b in (Bounds(0), Bounds(0, open_low=True), Bounds(0, 1, True, True))] == [
        ">= 0",
        "> 0",
        "in (0, 1)",
    ]
