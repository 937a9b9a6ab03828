"""Training and scored pictures of a linear probe, also where the splits of a data set have classes of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixgraph.config import SourceConfig
from pixgraph.data.base import FewShotDataset
from pixgraph.data.catalog import open_dataset


class Part(FewShotDataset):
    """Some pictures of a split.

    Args:
        whole: The split.
        indices: Which of its pictures.
        name: What to call this part beside the split's name.
    """

    def __init__(self, whole: FewShotDataset, indices: Sequence[int], name: str) -> None:
        super().__init__(whole.name, f"{whole.split}, {name}", whole.class_names, [whole.samples[i] for i in indices])
        self._whole, self._indices = whole, list(indices)

    def read_image(self, index: int) -> np.ndarray:
        """See `FewShotDataset.read_image`."""
        return self._whole.read_image(self._indices[index])

    def read_mask(self, index: int) -> np.ndarray:
        """See `FewShotDataset.read_mask`."""
        return self._whole.read_mask(self._indices[index])

    def has_mask(self, index: int) -> bool:
        """Whether the picture is labelled."""
        return self._whole.has_mask(self._indices[index])

    def fingerprint(self, index: int) -> str:
        """See `FewShotDataset.fingerprint`."""
        return self._whole.fingerprint(self._indices[index])


def train_and_scored(source: SourceConfig, split: str) -> tuple[FewShotDataset, FewShotDataset]:
    """The training split and the scored one; or both halves of the scored one.

    Halves, every second labelled picture each, are taken where the training split lacks classes that are scored, as in
    data sets for few-shot learning, and where it is among the scored pictures.

    Args:
        source: The data set.
        split: What is scored.
    """
    scored = open_dataset(source, split)
    if split not in ("train", "all"):
        train = open_dataset(source, "train")
        if set(scored.class_names) <= set(train.class_names):
            return train, scored
    labelled = [i for i in range(len(scored)) if scored.has_mask(i)]
    return Part(scored, labelled[::2], "even pictures"), Part(scored, labelled[1::2], "odd pictures")
