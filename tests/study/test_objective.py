"""What a trial measures, on generated pictures: the scores of the evaluation, the same episodes for every setting."""

import json
import mmap

import numpy as np
import pytest
from toy_study import generated

from pixgraph.config import BackboneConfig, GraphConfig, SourceConfig
from pixgraph.data.protocols import get_protocol
from pixgraph.errors import ConfigError
from pixgraph.evaluation.evaluate import evaluate
from pixgraph.models.propagate import PropagatePredictor
from pixgraph.study.memory import ResidentPeak
from pixgraph.study.objective import GraphObjective, describe
from pixgraph.study.options import StudyOptions, check_options, fixed_settings, source_titles


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    for place in ("pixgraph.study.episodes.open_dataset", "pixgraph.training.sources.open_dataset"):
        monkeypatch.setattr(place, lambda source, split: generated(split))


def options(**changes):
    graph = GraphConfig(dilations=[1, 2])
    given = {"backbone": BackboneConfig(size=64), "graph": graph, "seeds": 2, "episodes": 2, "n_unlabelled": 1}
    made = StudyOptions(**{**given, **changes})
    made.model.width, made.model.heads, made.model.decoder_blocks = 16, 2, 1
    made.train.steps, made.train.batch, made.train.warmup = 1, 1, 1
    return check_options(made)


def run(objective, settings):
    seen = []
    outcome = objective(settings, lambda name, miou, ms, mb: seen.append((name, miou)))
    return outcome, dict(seen)


def test_a_trial_has_the_scores_of_the_evaluation():
    objective = GraphObjective(options())
    outcome, blocks = run(objective, {"graph.num_fg": 16})
    assert list(blocks) == ["synthetic, 1-shot, seed 0", "synthetic, 1-shot, seed 1"]
    assert outcome.miou == pytest.approx(np.mean(list(blocks.values())))
    assert min(outcome.milliseconds, outcome.megabytes, outcome.details["reference_ms"]) > 0
    again, same = run(objective, {"graph.num_fg": 16})
    assert same == blocks
    assert again.megabytes == outcome.megabytes
    for seed, found in enumerate(blocks.values()):
        predictor = PropagatePredictor(GraphConfig(dilations=[1, 2], num_fg=16), seed)
        dataset, protocol = objective.blocks[0].dataset, get_protocol("pixgraph-v1")
        scored = evaluate(
            {"p": predictor},
            dataset,
            objective.store,
            protocol,
            seeds=[seed],
            episodes=2,
            baselines=False,
            progress=False,
        )
        assert found == scored.miou()
        assert objective.blocks[seed].digest != scored.episode_hashes[0]  # the study's episodes name their unlabelled


def test_edges_to_unlabelled_pictures_change_the_scores_and_not_the_episodes():
    objective = GraphObjective(options())
    without, _ = run(objective, {})
    more, _ = run(objective, {"graph.unlabelled_knn": 4})
    assert more.megabytes > without.megabytes
    assert [len(p.episode.unlabelled) for p in objective.blocks[0].episodes] == [1, 1]
    _, task = next(objective.blocks[0].tasks(objective.store, True))
    assert len(task.unlabelled) == 1
    assert task.query[0].label is None


def test_short_trainings_are_functions_of_their_seed():
    objective = GraphObjective(options(mode="train", seeds=1))
    first, again = (run(objective, {"graph.edge_drop": 0.2})[1] for _ in range(2))
    assert first == again
    assert run(objective, {})[0].details["training_seconds"] > 0


def test_what_is_said_of_the_data():
    found = describe(GraphObjective(options(seeds=1)))
    assert found["split"] == "val"
    assert list(found["blocks"]) == ["synthetic, 1-shot, seed 0"]
    assert json.dumps(found)
    assert found["backbone"]["name"] == "filters"


def test_one_data_set_is_named_as_in_other_commands():
    one, other = options(data=SourceConfig("camvid", "x")), options(sources=[SourceConfig("camvid", "x")])
    assert one.scored == other.scored == [SourceConfig("camvid", "x")]
    assert fixed_settings(one, "x") == fixed_settings(other, "x")
    assert options().scored == [SourceConfig()]


def test_settings_name_no_folder():
    one, other = (
        options(sources=[SourceConfig("camvid", f"{root}/camvid")], out=root, storage=root, workers=2)
        for root in ("/here", "/there")
    )
    assert fixed_settings(one, "x") == fixed_settings(other, "x")
    assert "here" not in fixed_settings(one, "x")
    assert source_titles([SourceConfig("ade20k-objects", parts=True)]) == ["ade20k-objects parts"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": SourceConfig("camvid", "x"), "sources": [SourceConfig()]}, "data: got a data set beside sources"),
        ({"sources": [SourceConfig(), SourceConfig()]}, "got synthetic, synthetic, expected each once"),
        ({"shots": [1, 1]}, r"shots: got \[1, 1\], expected one or more different"),
        ({"shots": []}, r"shots: got \[\]"),
        ({"workers": 0}, "workers: got 0, expected at least 1"),
        ({"n_unlabelled": -1}, "n_unlabelled: got -1"),
        ({"trials": 0}, "trials: got 0"),
        ({"graph": GraphConfig(dilations=[8])}, r"graph.dilations: got 8"),
    ],
)
def test_impossible_options(changes, words):
    with pytest.raises(ConfigError, match=words):
        options(**changes)


def test_memory_that_is_taken_is_seen():
    peak = ResidentPeak()
    if peak.megabytes() is None:
        pytest.skip("this system does not tell the peak of a process")
    with mmap.mmap(-1, 50_000_000) as taken:  # fresh pages: an array may get memory that was freed before
        taken.write(b"\1" * 50_000_000)
        assert peak.megabytes() > 40
