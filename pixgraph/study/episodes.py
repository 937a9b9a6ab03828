"""The episodes that every trial is scored on: drawn once, their features and labels kept in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pixgraph.config import SourceConfig
from pixgraph.data.base import FewShotDataset
from pixgraph.data.catalog import open_dataset
from pixgraph.data.episodes import Episode, EpisodeList, EpisodeSampler
from pixgraph.data.images import resize_mask
from pixgraph.data.picture import FewShotTask
from pixgraph.data.protocols import get_protocol
from pixgraph.data.tasks import truth
from pixgraph.evaluation.metrics import EpisodicIoU, count_pixels
from pixgraph.evaluation.scoring import check_probabilities, scored_masks

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore

PROTOCOL = "pixgraph-v1"
"""Drawing and scoring rule: classes and pictures uniformly, scored at the photograph's own size."""


@dataclass
class Prepared:
    """An episode with its labels.

    Attributes:
        episode: Who is what.
        labels: For each support, (S, S) uint8 at the working size.
        truths: For each query, (H, W) uint8 at its own size.
    """

    episode: Episode
    labels: list[np.ndarray]
    truths: list[np.ndarray]


@dataclass
class Block:
    """Episodes of one data set, number of shots and seed: the unit that settings are compared on.

    Attributes:
        name: ``"data set, k-shot, seed s"``.
        source: The data set's title.
        seed: Number of the seed.
        dataset: The pictures.
        episodes: The episodes.
        digest: Hash of the episode list.
    """

    name: str
    source: str
    seed: int
    dataset: FewShotDataset
    episodes: list[Prepared]
    digest: str

    def tasks(self, store: FeatureStore, unlabelled: bool) -> Iterator[tuple[Prepared, FewShotTask]]:
        """Each episode with its task, whose queries carry no label.

        Args:
            store: Features of the pictures.
            unlabelled: Whether the tasks have their unlabelled pictures.
        """
        for prepared in self.episodes:
            episode = prepared.episode
            pictures = [store.picture(self.dataset, i) for way in episode.support for i in way]
            support = [
                dataclasses.replace(p, label=torch.from_numpy(mask.astype(np.int64)).to(p.rgb.device))
                for p, mask in zip(pictures, prepared.labels, strict=True)
            ]
            query = [store.picture(self.dataset, i) for i in episode.query]
            further = [store.picture(self.dataset, i) for i in episode.unlabelled] if unlabelled else []
            yield prepared, FewShotTask(len(episode.classes), support, query, further)

    def counter(self) -> EpisodicIoU:
        """An empty score over the classes of the data set."""
        return EpisodicIoU(list(self.dataset.class_names))


def draw_blocks(
    sources: Sequence[SourceConfig],
    titles: Sequence[str],
    store: FeatureStore,
    split: str,
    shots: Sequence[int],
    seeds: int,
    episodes: int,
    n_unlabelled: int,
    first_seed: int = 0,
) -> list[Block]:
    """The blocks in the order in which trials are scored: seed by seed, so that early blocks show all data sets.

    An episode is the same with and without unlabelled pictures.

    Args:
        sources: The data sets.
        titles: Their names in tables.
        store: Features; its pictures are computed here, so that no trial pays for them.
        split: Whose classes.
        shots: Numbers of supports a class.
        seeds: How many seeds.
        episodes: Episodes of a block.
        n_unlabelled: Unlabelled pictures of an episode.
        first_seed: The first seed.

    Raises:
        ConfigError: A data set or split is unknown.
        DataError: A data set is missing, or too small for such episodes.
    """
    datasets = [open_dataset(source, split) for source in sources]
    blocks = []
    for seed in range(first_seed, first_seed + seeds):
        for title, dataset in zip(titles, datasets, strict=True):
            for k in shots:
                sampler = EpisodeSampler(dataset, 1, k, n_unlabelled=n_unlabelled, seed=seed)
                drawn = [sampler[i] for i in range(episodes)]
                meta: dict[str, Any] = {"k_shot": k, "seed": seed}
                made = [_prepare(dataset, episode, store) for episode in drawn]
                name = f"{title}, {k}-shot, seed {seed}"
                blocks.append(Block(name, title, seed, dataset, made, EpisodeList(drawn, meta, dataset).hash))
    for dataset in datasets:
        mine = [p.episode for b in blocks if b.dataset is dataset for p in b.episodes]
        indices = {i for e in mine for i in (*(j for way in e.support for j in way), *e.query, *e.unlabelled)}
        for i in sorted(indices):
            store.picture(dataset, i)
    return blocks


def score_answer(block_score: EpisodicIoU, prepared: Prepared, answers: Sequence[torch.Tensor], name: str) -> None:
    """Add an episode's answers, probabilities (N+1, h, w), to the score of its block.

    Raises:
        ValueError: An answer has a wrong shape or values that are not finite.
    """
    n_way = len(prepared.episode.classes)
    for answer, true in zip(answers, prepared.truths, strict=True):
        check_probabilities(answer, n_way, name)
        counts = count_pixels(*scored_masks(answer.cpu(), true, get_protocol(PROTOCOL)), n_way)
        block_score.add(counts, prepared.episode.classes)


def _prepare(dataset: FewShotDataset, episode: Episode, store: FeatureStore) -> Prepared:
    size = (store.size, store.size)
    labels = [resize_mask(truth(dataset, i, episode), size) for way in episode.support for i in way]
    return Prepared(episode, labels, [truth(dataset, i, episode) for i in episode.query])
