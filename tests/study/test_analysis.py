"""Effects, intervals, interactions, importance and recommendations on trials whose truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from pixgraph.study.effects import effects, holm, marginals, t_interval
from pixgraph.study.importance import importances
from pixgraph.study.interactions import interactions
from pixgraph.study.recommend import candidates, pareto, recommend
from pixgraph.study.trials import Row, machine_speed


def row(index, values, mious, ms=10.0, mb=2.0, part="p", state="complete"):
    blocks = {f"{'ab'[i % 2]}, seed {i}": m for i, m in enumerate(mious)}
    return Row(part, index, state, values, float(np.mean(mious)), ms, mb, blocks, {"even_ms": ms})


def test_interval_of_a_mean_is_the_closed_form():
    values = [0.1, 0.4, -0.2, 0.3, 0.0]
    n, mean, s = 5, np.mean(values), np.std(values, ddof=1)
    found = t_interval(values)
    half = stats.t.ppf(0.975, n - 1) * s / math.sqrt(n)
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert stats.t.interval(0.95, n - 1, mean, s / math.sqrt(n)) == pytest.approx((found.low, found.high))
    assert t_interval([0.3]) == (single := t_interval([0.3]))
    assert (single.low, single.high, single.p) == (0.3, 0.3, 1.0)
    assert t_interval([0.5, 0.5]).p == 0.0
    assert t_interval([0.0, 0.0]).p == 1.0


def test_effects_are_differences_block_by_block():
    default = row(0, {"stride": "8", "k": "4"}, [0.5, 0.2, 0.6, 0.3])
    better = row(1, {"stride": "4", "k": "4"}, [0.6, 0.2, 0.7, 0.3], ms=30.0, mb=8.0)
    both = row(2, {"stride": "4", "k": "2"}, [0.9] * 4)
    failed = row(3, {"stride": "8", "k": "2"}, [0.1] * 4, state="failed")
    other = row(0, {"stride": "8", "k": "4"}, [0.0] * 4, part="q")
    (found,) = effects([default, better, both, failed, other], "p")
    assert (found.factor, found.value, found.default) == ("stride", "4", "8")
    assert found.miou.mean == pytest.approx(0.05)
    assert found.sources == pytest.approx({"a": 0.1, "b": 0.0})
    assert (found.time, found.memory) == pytest.approx((3.0, 4.0))
    assert effects([better], "p") == []


def test_holm_against_the_definition():
    rng = np.random.default_rng(0)
    default = row(0, {"k": "0"}, [0.5] * 8)
    rows = [default] + [
        row(i, {"k": str(i)}, 0.5 + s * 0.02 + 0.01 * rng.standard_normal(8))
        for i, s in enumerate([1, 0, 0, 2, 0, 0.4], 1)
    ]
    found = effects(rows, "p")
    p = sorted(e.miou.p for e in found)
    limit = next((i for i, value in enumerate(p) if value > 0.05 / (len(p) - i)), len(p))
    assert {e.miou.p for e in found if e.sure} == set(p[:limit])
    assert 2 <= limit < 6
    assert holm([]) == []


def test_the_speed_of_the_machine_is_taken_out():
    rows = [row(i, {}, [0.5], ms=ms) for i, ms in enumerate((10.0, 20.0, 10.0))]
    for r, reference in zip(rows, (10.0, 20.0, 5.0), strict=True):
        r.details["reference_ms"] = reference
    machine_speed(rows)
    assert [r.details["even_ms"] for r in rows] == [5.0, 5.0, 10.0]


def random_rows(n, formula, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        values = {
            "a": int(rng.integers(3)),
            "b": int(rng.integers(2)),
            "c": "xyz"[rng.integers(3)],
            "d": int(rng.integers(4)),
        }
        miou = formula(values) + 0.02 * rng.standard_normal()
        rows.append(row(i, {k: str(v) for k, v in values.items()}, [miou]))
    return rows


def test_a_planted_interaction_is_found_and_main_effects_are_none():
    planted = interactions(random_rows(120, lambda v: 0.1 * v["a"] + 0.05 * v["a"] * (v["c"] == "x")))
    assert {planted[0].first, planted[0].second} == {"a", "c"}
    assert planted[0].p < 0.01
    assert planted[0].gain > planted[0].noise
    additive = interactions(random_rows(120, lambda v: 0.1 * v["a"] - 0.2 * v["b"] + 0.1 * (v["c"] == "x")))
    assert len(additive) == 6
    assert min(i.p for i in additive) > 0.05
    assert interactions(random_rows(12, lambda v: v["a"])) == []
    assert interactions([]) == []


def test_importance_ranks_the_factors(monkeypatch):
    monkeypatch.setattr("pixgraph.study.importance.REPEATS", 1)
    found = importances(random_rows(40, lambda v: 0.2 * v["a"] + 0.05 * v["b"]), lambda r: r.miou)
    assert next(iter(found)) == "a"
    assert found["a"] > 0.5 > found["b"] > max(found["c"], found["d"])
    assert sum(found.values()) == pytest.approx(1, abs=0.01)
    assert importances(random_rows(5, lambda v: v["a"]), lambda r: r.miou) == {}


def test_marginal_means():
    rows = [row(i, {"k": k}, [m]) for i, (k, m) in enumerate((("10", 0.2), ("2", 0.4), ("10", 0.4), ("2", 0.8)))]
    found = marginals([*rows, row(9, {"k": "2"}, [0.0], state="pruned")], ["p"])
    assert [(m.value, m.miou.count) for m in found] == [("2", 2), ("10", 2)]
    assert [m.miou.mean for m in found] == pytest.approx([0.6, 0.3])


def test_recommendations_on_a_constructed_front():
    default = row(0, {"k": "d"}, [0.50, 0.50, 0.50, 0.50], ms=10.0)
    noisy = row(1, {"k": "n"}, [0.90, 0.30, 0.95, 0.25], ms=2.0)  # the best mean, unsure
    best = row(2, {"k": "b"}, [0.577, 0.578, 0.577, 0.578], ms=40.0)
    balanced = row(3, {"k": "m"}, [0.57, 0.57, 0.57, 0.57], ms=20.0)
    fast = row(4, {"k": "f"}, [0.55, 0.55, 0.55, 0.55], ms=4.0)
    slower = row(5, {"k": "s"}, [0.55, 0.55, 0.55, 0.55], ms=5.0)
    poor = row(6, {"k": "p"}, [0.40, 0.40, 0.40, 0.40], ms=1.0)
    pruned = row(7, {"k": "x"}, [0.90, 0.90], ms=0.5, state="pruned")
    found = candidates([default, noisy, best, balanced, fast, slower, poor, pruned], ["p"])
    assert len(found) == 7
    picked = {name: c.row.values["k"] for name, c in recommend(found).items()}
    assert picked == {"fast": "f", "balanced": "m", "best": "b"}
    assert [c.row.values["k"] for c in pareto(found)] == ["p", "n"]
    assert [c.row.values["k"] for c in pareto([c for c in found if c.row is not noisy])] == ["p", "f", "m", "b"]
    only = recommend(candidates([default, noisy], ["p"]))
    assert only["best"].row is default
    assert recommend([]) == {}
