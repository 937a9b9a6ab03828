"""The pictures of several splits under one numbering, with their units: what retrieval searches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from pixgraph.data.base import FewShotDataset
from pixgraph.data.picture import Picture
from pixgraph.errors import DataError
from pixgraph.probe.config import RetrievalConfig
from pixgraph.probe.embedding import Embedding
from pixgraph.probe.retrieval import UnitsOf
from pixgraph.probe.units import Units, pixel_units, segment_units

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore

STATISTICS_FROM = 64
"""Pictures, at even steps, whose features give the embedding's mean and deviation."""

_REMEMBERED = 64


class Gallery:
    """Pictures of several splits.

    Args:
        datasets: The splits; one that occurs twice counts once.
        store: Gives the feature maps.
        levels: Which maps.

    Attributes:
        class_names: Class id to name, over all splits.
        embedding: Gives the vectors, centred by `STATISTICS_FROM` of the pictures.

    Raises:
        DataError: There are no pictures.
    """

    def __init__(self, datasets: Sequence[FewShotDataset], store: FeatureStore, levels: Sequence[int]) -> None:
        splits = {dataset.split: dataset for dataset in datasets}
        self.store = store
        self._places = [(dataset, i) for dataset in splits.values() for i in range(len(dataset))]
        if not self._places:
            raise DataError(f"{datasets[0].name}: no pictures in {', '.join(splits)}; check data.root")
        self.class_names = {c: name for dataset in splits.values() for c, name in dataset.class_names.items()}
        self.class_names.setdefault(0, "background")
        step = -(-len(self) // STATISTICS_FROM)
        self.embedding = Embedding([self.picture(i) for i in range(0, len(self), step)], levels)

    def __len__(self) -> int:
        return len(self._places)

    def numbers(self, split: str) -> list[int]:
        """Numbers of the pictures of a split."""
        return [i for i, (dataset, _) in enumerate(self._places) if dataset.split == split]

    def picture(self, number: int) -> Picture:
        """A picture with its feature maps, without label."""
        return self.store.picture(*self._places[number])

    def key(self, number: int) -> str:
        """Name of a picture in its data set."""
        dataset, index = self._places[number]
        return dataset.samples[index].key

    def mask(self, number: int) -> np.ndarray | None:
        """Class ids (H, W) of a picture, where it is labelled."""
        dataset, index = self._places[number]
        return dataset.read_mask(index) if dataset.has_mask(index) else None

    @cached_property
    def order(self) -> dict[int, int]:
        """Place of each picture among all by the name of its file, which is the order in time of a video's frames."""
        by_name = sorted(range(len(self)), key=lambda number: self.key(number).rsplit("/", 1)[-1])
        return {number: place for place, number in enumerate(by_name)}

    def units(self, kind: str, config: RetrievalConfig) -> UnitsOf:
        """A function from a picture's number to its units, which remembers the last ones.

        Args:
            kind: "pixels" or "segments".
            config: Stride of the pixels, number of segments.
        """

        @lru_cache(maxsize=_REMEMBERED)
        def look_up(number: int) -> Units:
            """Units of one picture."""
            picture, mask = self.picture(number), self.mask(number)
            if kind == "pixels":
                return pixel_units(picture, mask, self.embedding, config.stride)
            return segment_units(picture, mask, self.embedding, config.segments)

        return look_up
