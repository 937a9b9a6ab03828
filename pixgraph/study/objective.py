"""What a setting is worth: its mIoU on every block, the time of a query and the memory of a graph."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pixgraph.config import Config
from pixgraph.models.predictor import GraphPredictor, Predictor
from pixgraph.models.propagate import PropagatePredictor
from pixgraph.study.driver import Outcome, Report
from pixgraph.study.episodes import Block, draw_blocks, score_answer
from pixgraph.study.memory import ResidentPeak, graph_megabytes
from pixgraph.study.options import StudyOptions, base_config, source_titles
from pixgraph.study.space import with_settings

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore
    from pixgraph.study.short_training import ShortTraining

MEMORY = 3 << 30
"""Bytes of features kept in memory."""


class GraphObjective:
    """Scores settings on the same episodes, with the same seeds, in the same order.

    The time of a query is the median over all queries of `predict`, supports included and features given, after one
    that is not counted: processor time where the process has one thread, which other work on the machine hardly
    changes, and time on the clock elsewhere. The default of the training-free graph is timed once a block in the same
    way: ``reference_ms`` tells how quick the machine was during the trial.

    Args:
        options: The study.

    Attributes:
        blocks: What is scored.
        base: The default configuration.
    """

    def __init__(self, options: StudyOptions, first_seed: int = 0) -> None:
        self.options, self.base = options, base_config(options)
        self.store = _store(options)
        self.blocks: list[Block] = draw_blocks(
            options.scored,
            source_titles(options.scored),
            self.store,
            options.split,
            options.shots,
            options.seeds,
            options.episodes,
            options.n_unlabelled,
            first_seed,
        )
        self._clock = _clock(self.store.device)
        self._training = _trainer(self.store) if options.mode == "train" else None

    def __call__(self, settings: Mapping[str, Any], report: Report) -> Outcome:
        """Measure a setting; see `pixgraph.study.driver.Objective`."""
        config = with_settings(self.base, settings)
        unlabelled = config.graph.unlabelled_knn > 0
        _, first = next(self.blocks[0].tasks(self.store, unlabelled))
        megabytes = graph_megabytes(first, config.graph, 0)
        resident, mious, times, reference = ResidentPeak(), [], [], []
        training, predictor, trained, wall = 0.0, None, None, []
        for block in self.blocks:
            if predictor is None or block.seed != trained:
                begin = time.perf_counter()
                predictor, trained = self._predictor(config, block.seed), block.seed
                training += time.perf_counter() - begin
                predictor.predict(first)
            score = block.counter()
            reference.append(self._reference(block))
            for prepared, task in block.tasks(self.store, unlabelled):
                begin, begun = self._clock(), time.perf_counter()
                answers = predictor.predict(task)
                times.append(1000 * (self._clock() - begin) / len(task.query))
                wall.append(1000 * (time.perf_counter() - begun) / len(task.query))
                score_answer(score, prepared, answers, predictor.name)
            mious.append(score.miou())
            report(block.name, mious[-1], statistics.median(times), megabytes)
        details = {
            "reference_ms": statistics.median(reference),
            "wall_ms": statistics.median(wall),
            "resident_mb": resident.megabytes(),
            "training_seconds": training,
        }
        return Outcome(statistics.fmean(mious), statistics.median(times), megabytes, details)

    def _predictor(self, config: Config, seed: int) -> Predictor:
        if self._training is None:
            return PropagatePredictor(config.graph, seed)
        return GraphPredictor(self._training(config, self.options.seed + seed), config.graph, seed)

    def _reference(self, block: Block) -> float:
        """Milliseconds of the default of the training-free graph on the first episode of a block."""
        _, task = next(block.tasks(self.store, False))
        begin = self._clock()
        PropagatePredictor(self.base.graph, block.seed).predict(task)
        return 1000 * (self._clock() - begin) / len(task.query)


def describe(objective: GraphObjective) -> dict[str, Any]:
    """What the result must say about its data: episodes by hash, split, backbone."""
    backbone = objective.store.backbone
    return {
        "split": objective.options.split,
        "blocks": {block.name: block.digest for block in objective.blocks},
        "episodes": objective.options.episodes,
        "classes": {block.source: list(block.dataset.class_names.values()) for block in objective.blocks},
        "pictures": {block.source: len(block.dataset) for block in objective.blocks},
        "backbone": {
            "name": backbone.name,
            "pretrained_on": backbone.pretrained_on,
            "fingerprint": backbone.fingerprint,
            "size": objective.store.size,
        },
        "threads": torch.get_num_threads(),
        "clock": "processor" if objective._clock is time.process_time else "wall",
    }


def _clock(device: torch.device) -> Callable[[], float]:
    """Seconds by the processor's or the wall's clock."""
    return time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def _trainer(store: FeatureStore) -> ShortTraining:
    from pixgraph.study.short_training import ShortTraining

    return ShortTraining(store)


def _store(options: StudyOptions) -> FeatureStore:
    from pixgraph.backbones.build import build_backbone
    from pixgraph.backbones.features import FeatureStore
    from pixgraph.training.device import resolve_device

    config = options.backbone
    cache = None if config.cache is None else Path(config.cache)
    return FeatureStore(build_backbone(config), config.size, cache, resolve_device(options.device), MEMORY)
