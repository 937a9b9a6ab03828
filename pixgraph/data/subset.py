"""Some pictures of a data set, and the division of a split into two parts by the names of its pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from pixgraph.data.base import FewShotDataset
from pixgraph.data.file_numbers import FileNumbers
from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import ConfigError


class Subset(FewShotDataset):
    """Some pictures of a data set, with all its classes.

    Args:
        dataset: The data set underneath.
        indices: Which of its pictures, in which order.
    """

    def __init__(self, dataset: FewShotDataset, indices: Sequence[int]) -> None:
        super().__init__(dataset.name, dataset.split, dataset.class_names, [dataset.samples[i] for i in indices])
        self.dataset, self.indices = dataset, list(indices)

    @property
    def has_background(self) -> bool:
        """Whether the data set underneath has background."""
        return self.dataset.has_background

    def has_mask(self, index: int) -> bool:
        """Whether the picture is labelled."""
        return self.dataset.has_mask(self.indices[index])

    def read_image(self, index: int) -> np.ndarray:
        """The picture underneath, uint8 (H, W, 3)."""
        return self.dataset.read_image(self.indices[index])

    def read_mask(self, index: int) -> np.ndarray:
        """The mask underneath, uint8 (H, W)."""
        return self.dataset.read_mask(self.indices[index])

    def file_numbers(self, index: int) -> FileNumbers:
        """Those of the picture underneath."""
        return self.dataset.file_numbers(self.indices[index])

    def read_partial_mask(self, index: int) -> np.ndarray:
        """The mask underneath with 254 where nobody annotated, uint8 (H, W)."""
        return self.dataset.read_partial_mask(self.indices[index])

    def fingerprint(self, index: int) -> str:
        """That of the picture underneath."""
        return self.dataset.fingerprint(self.indices[index])


def hold_out(split: SemanticSplit, share: float) -> tuple[SemanticSplit, SemanticSplit]:
    """Divide the labelled pictures of a split: most to train on, and some to score.

    Which part a picture belongs to depends on its key and the share alone.

    Args:
        split: Such as the training pictures of a data set whose other splits have other classes.
        share: Share of the scored pictures, in (0, 1); as exact as chance has it.

    Returns:
        The pictures to train on, and those to score.

    Raises:
        ConfigError: One of the two has no picture.
    """
    places = [int(hashlib.sha256(key.encode()).hexdigest()[:12], 16) / 16**12 for key in split.keys]
    scored = [i for i, place in enumerate(places) if place < share and split.has_label(i)]
    rest = [i for i, place in enumerate(places) if place >= share]
    if not scored or not rest:
        raise ConfigError(
            f"holdout: got {share:g}, which leaves {len(rest)} of {len(split)} pictures of {split.name} to train on "
            f"and {len(scored)} to score, expected some of both; change it"
        )
    return SemanticSplit(Subset(split.dataset, rest)), SemanticSplit(Subset(split.dataset, scored))
