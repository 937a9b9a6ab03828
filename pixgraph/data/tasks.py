"""From an episode's indices to a few-shot task of pictures with feature maps and labels 0..N."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from pixgraph.data.base import IGNORE, UNLABELLED, FewShotDataset
from pixgraph.data.episodes import Episode
from pixgraph.data.images import resize_mask
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.data.support_marks import SupportMarks

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore


def load_task(
    dataset: FewShotDataset,
    episode: Episode,
    store: FeatureStore,
    variants: Sequence[FewShotDataset] = (),
    seed: int = 0,
    marks: SupportMarks | None = None,
) -> FewShotTask:
    """The pictures of an episode with their features and, at the working size, their labels.

    Args:
        dataset: The data set that the episode's indices belong to.
        episode: Who is support, query, unlabelled.
        store: Gives the feature maps, from its cache where it can.
        variants: Augmented versions of `dataset` with the same samples; each picture of the episode shows the original
            or one of these with equal chance, drawn from ``default_rng([seed, episode.index, position])``.
        seed: Seed of that draw.
        marks: What of the supports' masks is shown; `None`: all of it.

    Returns:
        A task whose supports stand way by way, with labels 254 where they are not marked. Queries carry their truth
        where the data set has it; unlabelled pictures carry none.

    Raises:
        DataError: A picture or a mask is missing or broken.
    """
    versions = [dataset, *variants]

    def picture(position: int, index: int, labelled: bool, support: bool = False) -> Picture:
        """One picture of the episode, in the version that chance gave to its position."""
        chosen = dataset
        if variants:
            chosen = versions[int(np.random.default_rng([seed, episode.index, position]).integers(len(versions)))]
        loaded = store.picture(chosen, index)
        if not labelled:
            return loaded
        label = resize_mask(truth(chosen, index, episode, partial=support), (store.size, store.size))
        return replace(loaded, label=torch.from_numpy(label.astype(np.int64)).to(loaded.rgb.device))

    def marked(position: int, index: int) -> Picture:
        """A support with the marks that stand for its mask."""
        whole = picture(position, index, True, support=True)
        if marks is None or whole.label is None:
            return whole
        label, rough = marks.draw(whole.label.cpu().numpy(), f"{episode.index} {position} {whole.key}")
        device = whole.rgb.device
        return replace(
            whole,
            label=torch.from_numpy(label.astype(np.int64)).to(device),
            rough=None if rough is None else torch.from_numpy(rough).to(device),
        )

    support = [i for way in episode.support for i in way]
    first_query, first_unlabelled = len(support), len(support) + len(episode.query)
    return FewShotTask(
        n_way=len(episode.classes),
        support=[marked(p, i) for p, i in enumerate(support)],
        query=[picture(p, i, dataset.has_mask(i)) for p, i in enumerate(episode.query, first_query)],
        unlabelled=[picture(p, i, False) for p, i in enumerate(episode.unlabelled, first_unlabelled)],
    )


def truth(dataset: FewShotDataset, index: int, episode: Episode, partial: bool = False) -> np.ndarray:
    """The mask of a picture in the episode's labels, at the original size.

    Args:
        dataset: The data set.
        index: The picture.
        episode: Gives the classes.
        partial: Tell what nobody annotated (254) from what is unknown.

    Returns:
        uint8, shape (H, W): 1..N the episode's classes in their order, 254 if `partial` and 255 as in the mask, 0
        everything else.

    Raises:
        DataError: The mask is missing or broken.
    """
    mask = dataset.read_partial_mask(index) if partial else dataset.read_mask(index)
    table = np.zeros(np.iinfo(mask.dtype).max + 1, np.uint8)  # uint16 where there are more than 254 classes
    table[list(episode.classes)] = np.arange(1, len(episode.classes) + 1)
    table[IGNORE] = IGNORE
    if partial and UNLABELLED not in dataset.class_names and mask.dtype == np.uint8:
        table[UNLABELLED] = UNLABELLED
    return table[mask]
