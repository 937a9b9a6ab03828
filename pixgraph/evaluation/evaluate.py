"""Run methods over the episodes of a protocol and count."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pixgraph.data.base import FewShotDataset
from pixgraph.data.episodes import Episode, EpisodeList
from pixgraph.data.picture import FewShotTask
from pixgraph.data.protocols import PROTOCOLS, Protocol
from pixgraph.data.support_marks import SupportMarks
from pixgraph.data.tasks import load_task, truth
from pixgraph.errors import ConfigError
from pixgraph.evaluation.baselines import trivial_baselines
from pixgraph.evaluation.metrics import count_pixels
from pixgraph.evaluation.result import Evaluation
from pixgraph.evaluation.scoring import check_probabilities, scored_masks
from pixgraph.evaluation.sharding import max_over_ranks, peak_memory, shard, sum_over_ranks
from pixgraph.evaluation.tally import Tally
from pixgraph.models.completion import complete_task
from pixgraph.models.predictor import Predictor

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore


def evaluate(
    predictors: Mapping[str, Predictor],
    dataset: FewShotDataset,
    store: FeatureStore,
    protocol: Protocol,
    n_way: int = 1,
    k_shot: int = 1,
    *,
    seeds: Sequence[int] | None = None,
    episodes: int | None = None,
    baselines: bool = True,
    progress: bool = True,
    marks: SupportMarks | None = None,
) -> Evaluation:
    """Score methods, beside the trivial baselines, on the same episodes.

    In a distributed job episode i belongs to process i mod world; the counts are integers, so that every process
    ends with exactly the counts of a single one.

    Args:
        predictors: Name in the tables to method; the first is the main one, by which examples are chosen.
        dataset: The classes and pictures to evaluate on.
        store: Features of the pictures.
        protocol: Episodes and scoring rule.
        n_way: Foreground classes in an episode, N.
        k_shot: Labelled pictures of each class, K.
        seeds: Seeds of the episode lists; the protocol's own when not given.
        episodes: Episodes a seed; the protocol's own number when not given.
        baselines: Also run `trivial_baselines()`, after `predictors`.
        progress: Show a bar with the running mIoU of the main method where the output is a terminal.
        marks: What the supports show of their masks; `None`: all.

    Raises:
        ConfigError: There is nothing to run, or no seed or episode to run on.
        DataError: The data set cannot give such episodes, or a picture or mask is broken.
        ValueError: A method answers with a wrong shape or values that are not finite.
    """
    # A method that bears a baseline's name replaces it, but stays first.
    methods = {**predictors, **{n: b for n, b in trivial_baselines().items() if baselines and n not in predictors}}
    seeds = list(protocol.seeds if seeds is None else seeds)
    _check(methods, seeds, episodes)
    chosen = protocol if episodes is None else dataclasses.replace(protocol, episodes=episodes)
    _reset_gpu_peak()
    start = time.perf_counter()
    tallies: dict[str, list[Tally]] = {name: [] for name in methods}
    hashes = []
    for seed in seeds:
        listed = chosen.episode_list(dataset, n_way, k_shot, seed)
        hashes.append(listed.hash)
        for name, tally in _run(methods, dataset, store, chosen, listed, f"seed {seed}", progress, marks).items():
            tallies[name].append(tally)
    memory, gpu_memory = max_over_ranks(np.array([peak_memory(), _gpu_peak()], np.int64)).tolist()
    return Evaluation(
        protocol=protocol.name,
        rule=protocol.rule,
        dataset=dataset.name,
        split=dataset.split,
        class_names=dict(dataset.class_names),
        n_way=n_way,
        k_shot=k_shot,
        seeds=seeds,
        episodes=len(listed),
        full=_is_full(protocol, len(listed), seeds),
        episode_hashes=hashes,
        backbone=describe_backbone(store),
        main=next(iter(methods)),
        tallies=tallies,
        seconds=time.perf_counter() - start,
        peak_memory=memory,
        peak_gpu_memory=gpu_memory,
        marks=marks or SupportMarks(),
    )


def _is_full(protocol: Protocol, episodes: int, seeds: Sequence[int]) -> bool:
    """Whether this is all that the protocol's name promises; a protocol that was cut down keeps its name."""
    named = PROTOCOLS.get(protocol.name, protocol)
    return episodes >= named.episodes and set(seeds) >= set(named.seeds)


def describe_backbone(store: FeatureStore) -> dict[str, Any]:
    """What a result must say about its features: name, pretraining, fingerprint and working size."""
    backbone = store.backbone
    return {
        "name": backbone.name,
        "pretrained_on": backbone.pretrained_on,
        "fingerprint": backbone.fingerprint,
        "size": store.size,
    }


def predict_blind(predictor: Predictor, task: FewShotTask) -> list[torch.Tensor]:
    """The predictor's answer to the task without the labels of queries and unlabelled pictures, on the CPU."""
    blind = FewShotTask(
        task.n_way,
        task.support,
        [dataclasses.replace(picture, label=None) for picture in task.query],
        [dataclasses.replace(picture, label=None) for picture in task.unlabelled],
    )
    return [answer.cpu() for answer in predictor.predict(blind)]


def _run(
    methods: Mapping[str, Predictor],
    dataset: FewShotDataset,
    store: FeatureStore,
    protocol: Protocol,
    episodes: EpisodeList,
    title: str,
    progress: bool,
    marks: SupportMarks | None,
) -> dict[str, Tally]:
    """Counts of all methods on one episode list, over all processes."""
    rank, world = shard()
    tallies = {name: Tally(list(dataset.class_names), len(episodes)) for name in methods}
    mine = range(rank, len(episodes), world)
    main = next(iter(tallies.values()))
    with _bar(mine, title, progress and rank == 0) as bar:
        for done, position in enumerate(bar, 1):
            _score_episode(methods, tallies, dataset, store, protocol, episodes[position], position, marks)
            if done % 20 == 0 or done == len(mine):
                bar.set_postfix(mIoU=f"{main.score.miou():.3f}", refresh=False)
    return {name: tally.unpack(sum_over_ranks(tally.pack())) for name, tally in tallies.items()}


def _score_episode(
    methods: Mapping[str, Predictor],
    tallies: Mapping[str, Tally],
    dataset: FewShotDataset,
    store: FeatureStore,
    protocol: Protocol,
    episode: Episode,
    position: int,
    marks: SupportMarks | None,
) -> None:
    """Add one episode to the tally of each method; marks are completed once for all of them, outside of their time."""
    task = complete_task(load_task(dataset, episode, store, marks=marks))
    truths = [truth(dataset, index, episode) for index in episode.query]
    n_way = len(episode.classes)
    for name, predictor in methods.items():
        start = time.perf_counter_ns()
        answers = predict_blind(predictor, task)
        nanoseconds = time.perf_counter_ns() - start
        counts = []
        for answer, true in zip(answers, truths, strict=True):
            check_probabilities(answer, n_way, name)
            counts.append(count_pixels(*scored_masks(answer, true, protocol), n_way))
        tallies[name].add(position, counts, episode.classes, nanoseconds)


def _bar(items: Iterable[int], title: str, wanted: bool) -> Any:
    """A progress bar; `disable=None` is tqdm's word for "only on a terminal"."""
    from tqdm import tqdm

    return tqdm(items, desc=title, unit="episode", disable=None if wanted else True, leave=False)


def _check(methods: Mapping[str, Predictor], seeds: Sequence[int], episodes: int | None) -> None:
    if not methods:
        raise ConfigError("evaluate: got no methods and no baselines, expected at least one; pass a predictor")
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"evaluate: got seeds {list(seeds)}, expected one or more that differ; correct the seeds")
    if episodes is not None and episodes < 1:
        raise ConfigError(
            f"evaluate: got {episodes} episodes, expected at least 1; leave it out for the protocol's own"
        )


def _reset_gpu_peak() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def _gpu_peak() -> int:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return 0
