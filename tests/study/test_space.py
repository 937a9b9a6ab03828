from dataclasses import replace

import numpy as np
import pytest
import yaml
from toy_study import factors

from pixgraph.config import Config, GraphConfig
from pixgraph.errors import ConfigError
from pixgraph.study.factors import MODES
from pixgraph.study.plan import defaults, make_plan, one_at_a_time, random_values, settings_of
from pixgraph.study.space import acting, default_space, load_space, with_settings

RANGES = """
- {key: graph.num_fg, range: {low: 8, high: 512, log: true}, grid: [8, 64, 512]}
- {key: graph.num_bg, range: {low: 16, high: 112, step: 16}}
- {key: graph.edge_drop, range: {low: 0.0, high: 0.5}}
- {key: graph.fg_fg_mode, choices: [nearest, random]}
- {key: graph.fg_fg, choices: [0, 4, 8], when: {fg_fg_mode: [random]}}
- {name: lattice, options: {none: {graph.dilations: []}, far: {graph.dilations: [1, 8], graph.connectivity: 8}}}
"""


@pytest.mark.parametrize("mode", MODES)
def test_the_default_space_is_one_factor_off_the_default(mode):
    base = Config()
    found = acting(load_space(None, base), mode)
    plan = one_at_a_time(found)
    assert with_settings(base, settings_of(found, plan[0].values)) == base
    assert len({tuple(sorted(p.values.items())) for p in plan}) == len(plan)
    for planned in plan[1:]:
        changed = {n for n, v in planned.values.items() if v != plan[0].values[n]}
        assert changed == {planned.off}
        assert with_settings(base, settings_of(found, planned.values)) != base
    assert {p.off for p in plan[1:]} == {f.name for f in found}


def test_every_setting_of_construction_is_in_the_default_space():
    keys = set()
    for entry in yaml.safe_load(default_space()):
        keys |= {entry["key"]} if "key" in entry else {k for s in entry["options"].values() for k in s}
    left_out = {"bg_bg_intra", "fg_fg_intra", "fg_bg_intra"}  # intra_ratio stands for all three
    known = {k.removeprefix("graph.") for k in keys if k.startswith("graph.")}
    assert known >= {"stride", "num_fg", "connectivity", "knn_level", "edge_drop", "both_ways", "unlabelled_knn"}
    assert known <= set(vars(GraphConfig())) - left_out


def test_ranges_conditions_and_options(tmp_path):
    found = {f.name: f for f in factors(tmp_path, RANGES)}
    assert found["num_fg"].grid == (8, 512)  # the default itself is no other value
    assert found["lattice"].default == "default"
    assert found["lattice"].settings("default") == {"graph.dilations": [1, 2, 4], "graph.connectivity": 4}
    rng = np.random.default_rng(0)
    draws = {name: [f.draw(rng) for _ in range(300)] for name, f in found.items()}
    assert set(draws["num_bg"]) == set(range(16, 113, 16))
    assert 8 <= min(draws["num_fg"]) < 12
    assert 40 < np.median(draws["num_fg"]) < 100  # 64 is the middle of the logarithms
    assert set(draws["lattice"]) == {"default", "none", "far"}
    assert 0 <= min(draws["edge_drop"]) < max(draws["edge_drop"]) <= 0.5
    chosen = [random_values(list(found.values()), 0, i) for i in range(40)]
    assert all(("fg_fg" in c) == (c["fg_fg_mode"] == "random") for c in chosen)
    assert "fg_fg" not in defaults(list(found.values()))
    assert all(p.off != "fg_fg" for p in one_at_a_time(list(found.values())))


def test_random_trials_are_functions_of_seed_and_index(tmp_path):
    found = factors(tmp_path)
    long, short = make_plan(found, "random", 9, 3), make_plan(found, "random", 4, 3)
    assert long[:4] == short
    assert long[0].values == defaults(found)
    assert make_plan(found, "random", 9, 4)[1:] != long[1:]
    tpe = make_plan(found, "tpe", 23, 3)
    assert [bool(p.values) for p in tpe] == [True] * 20 + [False] * 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", r"expected a list of at least one factor"),
        ("a: 1", r"got \{'a': 1\}, expected a list"),
        ("- [", r"space.yaml: not YAML"),
        ("- 3", r"factor 1: got 3, expected a mapping"),
        ("- {key: graph.stride, chioces: [1]}", r"chioces: unknown key .*did you mean 'choices'"),
        ("- {key: graph.stride}", r"factor 1: got no values, expected one of choices, options, range"),
        ("- {choices: [1]}", r"key: got None, expected text beside choices"),
        ("- {key: graph.strid, choices: [4]}", r"\(graph.strid\): graph.strid: unknown key .*'graph.stride'"),
        ("- {key: backbone.size, choices: [4]}", r"backbone.size: cannot be studied"),
        ("- {key: graph.stride, choices: [0]}", r"graph.stride: got 0, expected a whole number in \[1, 64\]"),
        ("- {key: graph.stride, choices: [x]}", r"graph.stride: got 'x', expected a whole number"),
        ("- {key: graph.stride, choices: 4}", r"choices: got 4, expected a list of values"),
        ("- {key: graph.stride, choices: [64]}", r"graph.dilations: got 4, expected less than the 4 nodes"),
        ("- {key: graph.stride, choices: [4], modes: [x]}", r"modes: got 'x', expected some of propagate, train"),
        ("- {key: graph.num_fg, range: {low: 9}}", r"range: got .*expected \{low: A, high: B\}"),
        ("- {key: graph.num_fg, range: {low: 9, high: 8}}", r"expected low < high"),
        ("- {key: graph.num_fg, range: {low: x, high: 8}}", r"expected numbers"),
        ("- {key: graph.num_fg, range: {low: 8, high: 32}}", r"expected one that holds the default 64"),
        ("- {key: graph.num_fg, range: {low: 8, high: 99}, grid: [7]}", r"grid: got 7, expected numbers within"),
        ("- {name: a, options: [1]}", r"options: got \[1\], expected NAME"),
        ("- {name: a, options: {b: {graph.stride: 4}}, grid: [c]}", r"grid: got 'c', expected names among b"),
        ("- {key: graph.stride, choices: [4], when: {b: 1}}", r"when: got 'b', expected a factor that stands before"),
        ("- {key: graph.stride, choices: [4], when: 3}", r"when: got 3, expected \{OTHER FACTOR"),
        ("- {key: graph.stride, choices: [4]}\n- {key: graph.stride, choices: [2]}", r"two factors named 'stride'"),
    ],
)
def test_mistakes_are_named(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        factors(tmp_path, text)


def test_no_file_no_factor_no_trial(tmp_path):
    with pytest.raises(ConfigError, match=r"--space .*x.yaml: No such file"):
        load_space(tmp_path / "x.yaml", Config())
    only = [replace(f, modes=("train",)) for f in factors(tmp_path)]
    with pytest.raises(ConfigError, match="no factor that can act in mode propagate"):
        acting(only, "propagate")
    with pytest.raises(ConfigError, match="sampler: got 'x', expected one of grid, random, tpe"):
        make_plan(only, "x", 3, 0)
    with pytest.raises(ConfigError, match="trials: got 0, expected at least 1"):
        make_plan(only, "grid", 0, 0)
