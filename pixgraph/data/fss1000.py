"""FSS-1000: a thousand classes with ten pictures each (Li et al., CVPR 2020)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pixgraph.config import SourceConfig
from pixgraph.data.base import IGNORE, Sample
from pixgraph.data.images import read_foreground
from pixgraph.data.label_maps import DenseDataset
from pixgraph.data.layout import PICTURE_SUFFIXES, need, read_lines
from pixgraph.data.official import check_split, files_by_stem, first_existing, refuse_empty, refuse_missing

SPLIT_SIZES = {"train": 520, "val": 240, "test": 240}
"""Classes of each split; there is no ignore label."""

HINT = (
    "FSS-1000 is not offered for direct download: get fewshot_data from github.com/HKUSTCV/FSS-1000 and set data.root "
    "to the folder that holds the class folders."
)
LIST_HINT = (
    "Put the class lists of FSS-1000 (520, 240 and 240 names, one a line) there; its repository and those of most "
    "methods, such as HSNet, have them."
)


class FSS1000(DenseDataset):
    """One split of FSS-1000.

    Class ids count the classes that are there from 1, in the order of the split's list, and skip 255. The training
    split has 520 of them, so that its masks are uint16; the others are uint8.

    Layout: ``<class>/<k>.jpg`` with ``<class>/<k>.png`` (the red channel's soft edge is cut at 127), or
    ``images/<class>/<k>.jpg`` with ``masks/<class>/<k>.png``; the lists in ``splits/{train,val,test}.txt``,
    ``splits/fss1000/`` or at the root itself.
    """

    def __init__(
        self, split: str, class_names: Mapping[int, str], samples: Sequence[Sample], ids: Sequence[int]
    ) -> None:
        super().__init__("fss1000", split, class_names, samples)
        self._ids = list(ids)
        self._dtype = np.uint8 if max(self.class_names) < IGNORE else np.uint16

    def read_mask(self, index: int) -> np.ndarray:
        """The picture's class id on the object, 0 elsewhere, (H, W); uint16 where the split has more than 254 classes.

        Raises:
            DataError: The mask is missing, broken, or of another size than the picture.
        """
        mask = self.read_labels(index)
        return mask if self._ids[index] in self.class_names else np.zeros_like(mask)

    def read_labels(self, index: int) -> np.ndarray:
        """As `read_mask`, also for a class that is not shown."""
        inside = self.checked_size(index, read_foreground(self.mask_path(index)))
        return np.where(inside, self._ids[index], 0).astype(self._dtype)


def class_id(position: int) -> int:
    """Class id of the class at a position (from 0): counts from 1 and skips 255, the ignore label."""
    return position + 1 if position + 1 < IGNORE else position + 2


def open_split(source: SourceConfig, split: str) -> FSS1000:
    """Open a split of FSS-1000; classes of the list without a folder are left out with a warning.

    Raises:
        ConfigError: The split does not exist, or no root is given.
        DataError: The lists or the pictures are not there, or a picture has no mask.
    """
    check_split("fss1000", split)
    root = need("fss1000", source.root, hint=HINT)
    places = [folder / f"{split}.txt" for folder in (root / "splits", root / "splits" / "fss1000", root)]
    names = read_lines(first_existing("fss1000", f"the class list {split}.txt", places, LIST_HINT))
    class_names: dict[int, str] = {}
    samples: list[Sample] = []
    ids: list[int] = []
    for name in names:
        found = _class_samples(root, name)
        if found:
            c = class_id(len(class_names))
            class_names[c] = name
            samples += found
            ids += [c] * len(found)
    if not samples:
        places = [root / names[0], root / "images" / names[0]]
        first_existing("fss1000", f"pictures of the {len(names)} classes of {split}, such as", places, HINT)
    refuse_empty("fss1000", "pictures in the class folders", samples, root, HINT)
    if len(class_names) < len(names):
        absent = sorted(set(names) - set(class_names.values()))
        warnings.warn(
            f"fss1000: {len(absent)} of the {len(names)} classes of {split} have no pictures in {root}, such as "
            f"{absent[0]!r}; they are left out, which makes numbers that do not compare with published ones",
            stacklevel=2,
        )
    return FSS1000(split, class_names, samples, ids)


def _class_samples(root: Path, name: str) -> list[Sample]:
    """Pictures of a class with their masks, in either layout."""
    if (root / "images" / name).is_dir():
        pictures, labels = files_by_stem(root / "images" / name, PICTURE_SUFFIXES), root / "masks" / name
    else:
        pictures, labels = files_by_stem(root / name, (".jpg", ".jpeg")), root / name
    masks = files_by_stem(labels, (".png",))
    refuse_missing("fss1000", f"masks of {name}", [stem for stem in pictures if stem not in masks], labels, HINT)
    return [Sample(f"{name}/{stem}", path, masks[stem]) for stem, path in pictures.items()]
