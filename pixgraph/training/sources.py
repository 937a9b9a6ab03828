"""Training episodes from several data sets, and the score on validation classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from pixgraph.backbones.features import FeatureStore
from pixgraph.config import Config
from pixgraph.data.augmented import Augmented
from pixgraph.data.base import FewShotDataset
from pixgraph.data.catalog import open_dataset
from pixgraph.data.episodes import EpisodeSampler
from pixgraph.data.labelled import labelled_subsets
from pixgraph.data.picture import FewShotTask
from pixgraph.data.protocols import get_protocol
from pixgraph.data.support_marks import SupportMarks
from pixgraph.data.tasks import load_task
from pixgraph.evaluation.evaluate import evaluate
from pixgraph.models.predictor import Predictor
from pixgraph.training.identity import dataset_digest
from pixgraph.training.randomness import source_generator

VALIDATION_PROTOCOL = "pixgraph-v1"


class TrainingTasks:
    """Episode index to task: a pure function of (config, index).

    The data set of an episode is drawn among `config.data` and `config.extra` with chances in proportion to their
    weights, N among `episodes.n_way` and `more_ways` and K among `k_shot` and `more_shots`, then its pictures by the
    `EpisodeSampler` of all three, then an augmented variant for each picture.

    Args:
        config: The run's configuration.
        store: Features of the pictures.

    Attributes:
        datasets: The training split of each source.

    Raises:
        DataError: A data set is missing, or too small for such episodes.
    """

    def __init__(self, config: Config, store: FeatureStore) -> None:
        sources = [config.data, *config.extra]
        weights = np.array([source.weight for source in sources], np.float64)
        self._config, self._store = config, store
        self._marks = support_marks(config)
        self._chances = weights / weights.sum()
        self.datasets = [open_dataset(source, source.split) for source in sources]
        shots = [config.episodes.k_shot, *config.episodes.more_shots]
        ways = [config.episodes.n_way, *config.episodes.more_ways]
        labelled = self._labelled(max(shots), min(ways))
        self._samplers = [
            [self._sampler(dataset, n, k, kept) for n in ways for k in shots]
            for dataset, kept in zip(self.datasets, labelled, strict=True)
        ]
        numbers, crop = range(1, config.train.augment + 1), config.train.augment_crop
        self._variants = [
            # The same variants for every seed: features cached by one run serve all.
            [Augmented(dataset, n, crop=crop, labelled=kept) for n in numbers]
            for dataset, kept in zip(self.datasets, labelled, strict=True)
        ]

    def __call__(self, index: int) -> FewShotTask:
        """The task of episode `index`, on the device of the store."""
        source, kind = self.draw(index)
        episode = self._samplers[source][kind][index]
        return load_task(
            self.datasets[source], episode, self._store, self._variants[source], self._config.seed, self._marks
        )

    def source(self, index: int) -> int:
        """Position in `datasets` of the data set that episode `index` is drawn from."""
        return self.draw(index)[0]

    def draw(self, index: int) -> tuple[int, int]:
        """Positions of the data set in `datasets`, and of (N, K) in all pairs of one and the other, of `index`."""
        rng = source_generator(self._config.seed, index)
        source = int(rng.choice(len(self.datasets), p=self._chances))
        return source, int(rng.integers(len(self._samplers[source])))

    def digests(self) -> dict[str, str]:
        """For each source, what tells its pictures and classes from others'."""
        return {f"{i} {dataset.name}": dataset_digest(dataset) for i, dataset in enumerate(self.datasets)}

    def _labelled(self, most_shots: int, fewest_ways: int) -> list[frozenset[int]] | list[None]:
        """For each data set the pictures that keep their masks, the same for every N and K; `None`: all."""
        episodes = self._config.episodes
        if episodes.label_fraction >= 1:
            return [None] * len(self.datasets)
        needed = most_shots + -(-episodes.n_query // fewest_ways)  # labelled pictures of a class in an episode
        return labelled_subsets(self.datasets, episodes.label_fraction, self._config.seed, needed)

    def _sampler(
        self, dataset: FewShotDataset, n_way: int, k_shot: int, labelled: frozenset[int] | None
    ) -> EpisodeSampler:
        episodes = self._config.episodes
        return EpisodeSampler(
            dataset,
            n_way=n_way,
            k_shot=k_shot,
            n_query=episodes.n_query,
            n_unlabelled=episodes.n_unlabelled,
            min_area=episodes.min_area,
            seed=self._config.seed,
            labelled=labelled,
        )


def support_marks(config: Config) -> SupportMarks:
    """What the supports of a run's episodes show of their masks."""
    return SupportMarks(config.episodes.support_annotation, config.episodes.num_points, config.seed)


class Validation:
    """Score of a network on the validation classes of `config.data`; test classes are never touched.

    Args:
        config: The run's configuration; its N and K are those of the validation.
        store: Features of the pictures.
        predictor: Makes a predictor of a network.
        check_stop: Called before each episode; raises to break off.

    Raises:
        DataError: The data set has no such split, or too few pictures for such episodes.
    """

    def __init__(
        self,
        config: Config,
        store: FeatureStore,
        predictor: Callable[[Any], Predictor],
        check_stop: Callable[[], None],
    ) -> None:
        self._config, self._store, self._predictor, self._check_stop = config, store, predictor, check_stop
        self._protocol = get_protocol(VALIDATION_PROTOCOL)
        self.dataset = open_dataset(config.data, "val")
        # One episode now, so that an impossible validation fails before the training rather than after its first part.
        first = dataclasses.replace(self._protocol, episodes=1)
        first.episode_list(self.dataset, config.episodes.n_way, config.episodes.k_shot, self._protocol.seeds[0])

    def __call__(self, network: nn.Module) -> dict[str, Any]:
        """``miou``, ``fb_iou``, the number of episodes and the time of a query; the same on all processes.

        The episodes are the same for any seed of the training.
        """
        result = evaluate(
            {"graph": _Interruptible(self._predictor(network), self._check_stop)},
            self.dataset,
            self._store,
            self._protocol,
            self._config.episodes.n_way,
            self._config.episodes.k_shot,
            seeds=[self._protocol.seeds[0]],
            episodes=self._config.train.val_episodes,
            baselines=False,
            progress=False,
            marks=support_marks(self._config),
        )
        return {"miou": result.miou(), "fb_iou": result.total().fb_iou(), "episodes": result.episodes}


class _Interruptible:
    """A predictor that looks for a request to stop before each task: a validation may take minutes."""

    def __init__(self, predictor: Predictor, check_stop: Callable[[], None]) -> None:
        self._predictor, self._check_stop = predictor, check_stop
        self.name = predictor.name

    def predict(self, task: FewShotTask) -> list[torch.Tensor]:
        """See `Predictor.predict`."""
        self._check_stop()
        return self._predictor.predict(task)
