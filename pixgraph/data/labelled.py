"""Which pictures keep their masks when only a share of a data set counts as labelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixgraph.data.base import FewShotDataset
from pixgraph.errors import ConfigError


def labelled_subset(dataset: FewShotDataset, fraction: float, seed: int = 0, at_least: int = 2) -> frozenset[int]:
    """A share of the labelled pictures, class by class, so that no class loses all its masks.

    Each class keeps ``ceil(fraction * its pictures)``, and never fewer than `at_least` while it has them: a support
    and a query. Classes are served from the rarest to the commonest, and what a class already got through another
    counts. One permutation decides for all, so where each picture shows one class, a smaller fraction is a subset of a
    larger one.

    Args:
        dataset: Its `areas` say which picture shows what.
        fraction: Share in (0, 1].
        seed: Seed of the choice.
        at_least: Pictures that each class keeps in any case, as far as it has them.

    Returns:
        Sample indices that keep their masks. With fraction 1: all labelled pictures.

    Raises:
        ConfigError: The fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"label_fraction: got {fraction}, expected more than 0 and at most 1; correct it")
    everything = [i for i in range(len(dataset)) if dataset.has_mask(i)]
    if fraction == 1:
        return frozenset(everything)
    # Keys, not positions, are shuffled: the choice stays when other files are added to the folder in another order.
    by_key = sorted(everything, key=lambda i: dataset.samples[i].key)
    rank = dict(zip(by_key, np.random.default_rng([seed, 0x1ABE1]).permutation(len(by_key)).tolist(), strict=True))
    shown = {c: sorted(found, key=rank.__getitem__) for c, found in dataset.areas.items() if found}
    kept: set[int] = set()
    for c in sorted(shown, key=lambda c: (len(shown[c]), c)):
        pool = shown[c]
        # The small number keeps 0.2 * 55 = 11.000000000000002 at 11.
        wanted = max(math.ceil(fraction * len(pool) - 1e-9), min(at_least, len(pool)))
        missing = wanted - sum(i in kept for i in pool)
        kept.update([i for i in pool if i not in kept][: max(missing, 0)])
    return frozenset(kept)


def labelled_subsets(
    datasets: Sequence[FewShotDataset], fraction: float, seed: int = 0, at_least: int = 2
) -> list[frozenset[int]]:
    """`labelled_subset` of several data sets, in which a photograph that they share is labelled in all or in none.

    Args:
        datasets: The first one that has a photograph decides about it.
        fraction: Share in (0, 1].
        seed: Seed of the choice.
        at_least: Pictures that each class keeps where its own data set decides; of shared photographs, what is kept is
            all that there is.

    Returns:
        For each data set, the sample indices that keep their masks.

    Raises:
        ConfigError: The fraction is not in (0, 1].
    """
    decided: dict[Path, bool] = {}
    subsets = []
    for dataset in datasets:
        own = labelled_subset(dataset, fraction, seed, at_least)
        images = [sample.image for sample in dataset.samples]
        chosen = {
            i: dataset.has_mask(i) and decided[image] if image is not None and image in decided else i in own
            for i, image in enumerate(images)
        }
        for i, image in enumerate(images):
            if image is not None:
                decided.setdefault(image, chosen[i])
        subsets.append(frozenset(i for i, labelled in chosen.items() if labelled))
    return subsets
