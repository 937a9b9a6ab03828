"""A densely labelled data set as semantic segmentation wants it: classes 0..C-1, 254 unlabelled, 255 ignored."""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path

import numpy as np

from pixgraph.config import SourceConfig
from pixgraph.data.all_classes import open_all_classes
from pixgraph.data.base import IGNORE, UNLABELLED, FewShotDataset
from pixgraph.data.catalog import dataset_names, open_dataset
from pixgraph.errors import ConfigError, DataError

ALIASES = {"voc": "pascal5i", "pascal": "pascal5i", "coco": "coco20i"}
"""Usual names of data sets that the catalog calls by their few-shot protocol."""

BACKGROUND_NAME = "background"
"""Name of class 0 where pixels of no class exist."""


class SemanticSplit:
    """The pictures of one split with contiguous class numbers.

    Class number c of this split is class id `ids[c]` of the data set. Id 0, the background, is class 0 where the data
    set has pixels of no class (VOC, COCO, folders with a background, single objects), and does not exist where it has
    none (CamVid, Cityscapes).

    Args:
        dataset: Its `class_names` are the classes; pixels of other ids are background, or 255 where there is none.

    Attributes:
        dataset: The data set underneath, whose indices and sample keys these are.
        ids: Class ids in the order of the class numbers, ascending.
        names: Their names.

    Raises:
        ConfigError: There are more classes than codes, or one has the id of `UNLABELLED`.
    """

    def __init__(self, dataset: FewShotDataset) -> None:
        self.dataset = dataset
        background = {0: BACKGROUND_NAME} if dataset.has_background else {}
        classes = {**background, **dataset.class_names}
        if not classes or max(classes) >= UNLABELLED:
            raise ConfigError(
                f"{dataset.name} ({dataset.split}): got {len(classes)} classes, ids up to {max(classes, default=0)}, "
                f"expected ids below {UNLABELLED}, which means unlabelled; use fewer classes"
            )
        self.ids = tuple(sorted(classes))
        self.names = tuple(classes[c] for c in self.ids)
        outside = 0 if background else IGNORE
        self._to_class = np.full(256, outside, np.uint8)
        self._to_class[list(self.ids)] = np.arange(len(self.ids), dtype=np.uint8)
        self._to_class[[UNLABELLED, IGNORE]] = UNLABELLED, IGNORE
        self._to_id = np.full(256, IGNORE, np.uint8)
        self._to_id[: len(self.ids)] = self.ids
        self._to_id[[UNLABELLED, IGNORE]] = UNLABELLED, IGNORE

    def __len__(self) -> int:
        return len(self.dataset)

    def __repr__(self) -> str:
        counts = f"pictures={len(self)}, classes={self.classes}"
        return f"SemanticSplit({self.dataset.name!r}, split={self.split!r}, {counts})"

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.dataset.name

    @property
    def split(self) -> str:
        """Name of the split."""
        return self.dataset.split

    @property
    def classes(self) -> int:
        """Number of classes C, background included where it exists."""
        return len(self.ids)

    @property
    def background(self) -> int | None:
        """Class number of the background: 0, or None where every pixel has a class."""
        return 0 if self.ids[0] == 0 else None

    @cached_property
    def keys(self) -> list[str]:
        """Names of the pictures, unique and stable."""
        return [sample.key for sample in self.dataset.samples]

    def has_label(self, index: int) -> bool:
        """Whether the picture is labelled."""
        return self.dataset.has_mask(index)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Picture uint8 RGB (H, W, 3) and label uint8 (H, W).

        Raises:
            DataError: A file is missing, broken, or of another size than the other.
        """
        rgb = self.read_image(index)
        return rgb, self.read_label(index) if self.has_label(index) else np.full(rgb.shape[:2], UNLABELLED, np.uint8)

    def read_image(self, index: int) -> np.ndarray:
        """The picture alone, uint8 RGB (H, W, 3).

        Raises:
            DataError: The file is missing or broken.
        """
        return self.dataset.read_image(index)

    def read_label(self, index: int) -> np.ndarray:
        """Class numbers, uint8 (H, W): 0..C-1, 254 unlabelled, 255 ignored.

        Raises:
            DataError: There is no mask, or it is broken.
        """
        return self.to_classes(self.dataset.read_partial_mask(index))

    def to_classes(self, mask: np.ndarray) -> np.ndarray:
        """Class ids of the data set to class numbers, uint8 of any shape; 254 and 255 stay."""
        return self._to_class[mask]

    def to_ids(self, prediction: np.ndarray) -> np.ndarray:
        """Class numbers to class ids of the data set, uint8 of any shape; 254 and 255 stay."""
        return self._to_id[prediction]

    def shows(self) -> np.ndarray:
        """Which picture shows which class: bool (N, C).

        The data set's own counts say so, which large data sets keep on disk. Every labelled picture counts as showing
        background where that exists.
        """
        found = np.zeros((len(self), self.classes), bool)
        for c, class_id in enumerate(self.ids):
            if class_id:
                found[list(self.dataset.areas[class_id]), c] = True
            else:
                found[:, c] = [self.has_label(i) for i in range(len(self))]
        return found


def open_semantic(place: str, split: str = "train") -> SemanticSplit:
    """Open a split of a data set for semantic segmentation.

    Args:
        place: NAME:FOLDER with a name of the catalog (``"camvid:/data/camvid"``) or of `ALIASES` (``"voc:..."``), or
            the folder of a user's own pictures alone. VOC and COCO show all their classes, not those of a fold.
        split: ``"train"``, ``"val"`` or ``"test"``; a folder also has ``"all"``.

    Raises:
        ConfigError: The name or split is unknown, or the data set has more classes than codes.
        DataError: The folder is missing or not laid out as the data set is.
    """
    name, colon, root = place.partition(":")
    name = ALIASES.get(name, name)
    known = name in dataset_names() and (colon or name == "synthetic")
    if not known:
        if not Path(place).expanduser().is_dir():
            raise DataError(
                f"data: got {place!r}, expected NAME:FOLDER with one of {', '.join(dataset_names())}, or a folder of "
                "pictures with masks; correct it"
            )
        name, root = "folder", place
    if name in ALIASES.values():
        return SemanticSplit(open_all_classes(name, root or None, split))
    if name == "folder":
        return SemanticSplit(_folder(root, split))
    return SemanticSplit(open_dataset(SourceConfig(name, root or None), split))


def open_splits(place: str, train: str, scored: str) -> tuple[SemanticSplit, SemanticSplit]:
    """The pictures to train on and those to score.

    Args:
        place: See `open_semantic`.
        train: Name of the first split.
        scored: Name of the second one.

    Raises:
        ConfigError: They do not have the same classes, or see `open_semantic`.
        DataError: The data set is not there, or has no such split.
    """
    first = open_semantic(place, train)
    try:
        second = open_semantic(place, scored)
    except (ConfigError, DataError) as error:
        raise type(error)(f"val_split {scored}: {error}") from error
    if first.ids != second.ids:
        raise ConfigError(
            f"val_split: {scored} of {first.name} has {second.classes} classes, expected the {first.classes} of "
            f"{train}; choose another split"
        )
    return first, second


def refuse_shared(train: SemanticSplit, scored: SemanticSplit) -> None:
    """Refuse to score pictures that are trained on, or say so of a folder that is not divided.

    Args:
        train: What is trained on.
        scored: What is to be scored.

    Raises:
        ConfigError: Some pictures are in both, and others are not or the split is the same.
    """
    shared = _pictures(train) & _pictures(scored)
    if shared and train.split != scored.split and shared == _pictures(train) == _pictures(scored):
        sys.stderr.write(
            f"pixgraph: {scored.name} is scored on the pictures that are trained on, for it is not divided: the scores "
            "say little about others; name pictures in splits/train.txt and val.txt\n"
        )
    elif shared:
        raise ConfigError(
            f"val_split: got {scored.split!r}, of whose {len(scored)} pictures {len(shared)} are also trained on, "
            f"expected pictures of their own; choose another split of {scored.name}"
        )


def _pictures(split: SemanticSplit) -> set[object]:
    """What the pictures of a split are known by wherever they turn up: their file, or split and key without one."""
    return {(split.split, sample.key) if sample.image is None else sample.image for sample in split.dataset.samples}


def _folder(root: str, split: str) -> FewShotDataset:
    """A folder with all the classes of its ``classes.json``: its splits must be of pictures, not of classes."""
    from pixgraph.data.folder import FolderDataset

    folder = FolderDataset(root, split)
    if split == "all" or not (Path(root).expanduser() / "classes.json").exists():
        return folder
    everything = FolderDataset(root, "all")
    if folder.class_names == everything.class_names and len(folder) < len(everything):
        return folder
    if split == "train":
        return everything
    raise DataError(
        f"{root}: got no pictures of their own for the split {split!r}, expected "
        f"splits/{split}.txt with names of pictures, or images/{split}/; add one of them"
    )
