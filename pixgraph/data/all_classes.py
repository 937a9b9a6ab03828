"""PASCAL VOC and COCO with all their classes: the folds of the few-shot data sets put together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pixgraph.config import SourceConfig
from pixgraph.data.base import FewShotDataset
from pixgraph.data.label_maps import DenseDataset
from pixgraph.errors import ConfigError


class AllClasses(DenseDataset):
    """The pictures of several folds, each once, with every class shown.

    Args:
        folds: The same split of different folds.
        class_names: Id to name of all classes.
    """

    def __init__(self, folds: Sequence[DenseDataset], class_names: Mapping[int, str]) -> None:
        self._places: dict[str, tuple[DenseDataset, int]] = {}
        for fold in folds:
            for index, sample in enumerate(fold.samples):
                self._places.setdefault(sample.key, (fold, index))
        samples = [fold.samples[index] for fold, index in self._places.values()]
        super().__init__(folds[0].name, folds[0].split, class_names, samples)
        self.folds = list(folds)

    def has_mask(self, index: int) -> bool:
        """Whether the picture is labelled."""
        fold, inside = self._places[self.samples[index].key]
        return fold.has_mask(inside)

    def read_labels(self, index: int) -> np.ndarray:
        """Ids of all classes, uint8 (H, W), 255 unknown.

        Raises:
            DataError: As `DenseDataset.read_mask`.
        """
        fold, inside = self._places[self.samples[index].key]
        return fold.read_labels(inside)

    def mask_state(self) -> str:
        """Text that changes with the masks of any fold."""
        return "\n".join(fold.mask_state() for fold in self.folds)


def open_all_classes(name: str, root: str | None, split: str) -> FewShotDataset:
    """All pictures of a split of VOC or COCO that show at least one class, with all 20 or 80 classes.

    Two folds of "train" (and of "val") show every class between them; "test" needs all four. VOC's and COCO's test
    masks are not published: "val" and "test" are both the official validation pictures.

    Args:
        name: ``"pascal5i"`` or ``"coco20i"``; the layouts are those of these data sets.
        root: The folder.
        split: ``"train"``, ``"val"`` or ``"test"``.

    Raises:
        ConfigError: There is no such data set.
        DataError: The folder is not laid out as the data set is.
    """
    if name == "pascal5i":
        from pixgraph.data.pascal import CLASSES, open_split
    elif name == "coco20i":
        from pixgraph.data.coco import CLASSES, open_split  # type: ignore[assignment]
    else:
        raise ConfigError(f"all classes: got {name!r}, expected pascal5i or coco20i, which have folds; correct it")
    folds = [open_split(SourceConfig(name, root, fold), split) for fold in range(4 if split == "test" else 2)]
    return AllClasses(folds, dict(enumerate(CLASSES, 1)))
