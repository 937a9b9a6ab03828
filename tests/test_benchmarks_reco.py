"""The benchmark of ReCo: its loops give the numbers of the loss, and it runs at its smallest."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from pixgraph.errors import PixgraphError
from pixgraph.losses.reco import reco_loss
from pixgraph.losses.reco_draws import class_means, class_relation, draw_pixels, find_regions


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts import each other as programs do; their folder is no package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))


def script(name):
    return importlib.import_module(name)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_the_loops_give_the_same_loss_and_gradient_with_the_same_draws(one_by_one):
    loops = script("reco_loop")
    problem = loops.make_problem(2, 5, 16, 24, 8)
    counts = {"num_queries": 6, "num_negatives": 9}
    term = reco_loss(*problem, generator=torch.Generator().manual_seed(3), **counts)
    term.value.backward()
    ours, problem.representation.grad = problem.representation.grad, None

    vectors = problem.representation.detach().movedim(1, -1).flatten(0, -2)
    chances = problem.probability.movedim(1, -1).flatten(0, -2)
    regions = find_regions(problem.label.flatten(), problem.valid.flatten(), chances, 0.97)
    relation = class_relation(class_means(vectors, regions), 0.5)
    drawn = draw_pixels(regions, relation, 6, 9, torch.Generator().manual_seed(3))
    draws = [loops.ClassDraws(int(row), q, n) for row, q, n in zip(*drawn, strict=True)]
    value = loops.loop_reco(problem, draws=draws, one_by_one=one_by_one)
    value.backward()
    torch.testing.assert_close(value, term.value)
    torch.testing.assert_close(problem.representation.grad, ours, rtol=1e-4, atol=1e-7)


def test_draws_by_loops_are_distributed_alike():
    """Means of the loss over seeds, within four standard errors of each other."""
    loops = script("reco_loop")
    problem = loops.make_problem(1, 3, 16, 16, 6)
    counts = {"num_queries": 20, "num_negatives": 20}
    seeds = range(60)
    ours = [reco_loss(*problem, generator=torch.Generator().manual_seed(s), **counts).value.item() for s in seeds]
    theirs = [loops.loop_reco(problem, seed=s, **counts).item() for s in seeds]
    one, two = torch.tensor(ours), torch.tensor(theirs)
    assert abs(one.mean() - two.mean()) < 4 * ((one.var() + two.var()) / 60).sqrt()


def test_help_shows_the_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        script("speed_reco").main(["--help"])
    assert "python benchmarks/speed_reco.py" in capsys.readouterr().out


def test_a_quick_run_writes_table_and_plot(tmp_path):
    speed = script("speed_reco")
    speed.main(["--quick", "--no_memory", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "speed_reco.json").read_text())
    assert [one["height"] for one in found["growth"]] == [16, 24]
    assert all(len(one["found"]["pixgraph"]["seconds"]) == 1 for one in found["growth"])
    assert found["growth"][0]["found"]["loops for draws and queries"]["skipped"] == "measured at the default map only"
    text = (tmp_path / "speed_reco.md").read_text()
    assert "| 24 x 32 | loops for draws and queries |" in text
    assert "![time and memory by size](speed_reco.png)" in text
    assert (tmp_path / "speed_reco.png").stat().st_size > 1000


def test_memory_is_that_of_a_process_of_its_own():
    speed = script("speed_reco")
    given = {**speed.settings(speed.parser().parse_args([])), **{"height": 12, "channels": 4, "queries": 2}}
    peak = speed.peak_of({**given, "name": speed.OURS})
    assert peak is None or 0 <= peak < 300


def test_a_child_that_fails_gives_its_reason(monkeypatch):
    speed = script("speed_reco")

    def failing(words, what):
        raise PixgraphError(f"measuring {what} failed: MemoryError")

    monkeypatch.setattr(speed, "measured_in_child", failing)
    assert speed.peak_of({"name": "x"}) == "measuring x failed: MemoryError"
    row = speed._rows({"height": 3, "width": 4, "found": {speed.OURS: {"seconds": [1.0], "peak_mb": "no memory"}}})[0]
    assert row == ["3 x 4", speed.OURS, "1000.0 (1000.0-1000.0)", "-", "no memory"]
