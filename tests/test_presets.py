"""Presets: files that the commands and Python take by name."""

import pytest

from pixgraph.cli.evaluate import parse_evaluate
from pixgraph.cli.main import main
from pixgraph.cli.options import parse
from pixgraph.config import Config, GraphConfig
from pixgraph.config_check import build, check
from pixgraph.errors import ConfigError
from pixgraph.presets.named import PRESETS, preset_graph, preset_settings


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_sets_the_whole_graph_and_nothing_else(name):
    settings = preset_settings(name)
    assert list(settings) == ["graph"]
    check(build(Config, settings))
    assert set(settings["graph"]) <= set(vars(GraphConfig()))
    assert parse(Config, "train", ["--preset", name]).graph == preset_graph(name)
    assert parse_evaluate(["--method", "propagate", f"--preset={name}"]).graph == preset_graph(name)


def test_files_and_options_win_over_a_preset(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("graph: {num_fg: 7}")
    graph = parse(Config, "train", ["--config", str(file), "--preset", "fast", "--graph.num_bg", "9"]).graph
    fast = preset_graph("fast")
    assert (graph.num_fg, graph.num_bg, graph.stride) == (7, 9, fast.stride)


def test_presets_that_are_not_there(capsys):
    with pytest.raises(ConfigError, match=r"preset: got 'quick', expected one of fast, balanced, best"):
        preset_graph("quick")
    with pytest.raises(ConfigError, match=r"--preset: expected one of fast, balanced, best after it"):
        parse(Config, "train", ["--preset"])
    assert main(["train", "--preset", "quick"]) == 2
    assert "preset: got 'quick'" in capsys.readouterr().err


def test_a_segmenter_takes_a_preset_or_a_graph():
    from pixgraph import FewShotSegmenter

    segmenter = FewShotSegmenter(preset="fast", device="cpu")
    assert segmenter._method.predictor.config == preset_graph("fast")
    with pytest.raises(ConfigError, match=r"preset: got 'fast' beside graph, expected one of the two"):
        FewShotSegmenter(preset="fast", graph=GraphConfig(), device="cpu")
