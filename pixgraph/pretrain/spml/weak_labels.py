"""What a training is told of each picture: labels of pixels, and tags."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from pixgraph.data.annotation_sets import SavedAnnotations
from pixgraph.data.annotations import KINDS, AnnotationKind, make_annotation, thicken
from pixgraph.data.base import UNLABELLED
from pixgraph.data.budget import choose_labelled, require_classes
from pixgraph.data.images import read_mask
from pixgraph.data.layout import some
from pixgraph.data.partial import SHARES
from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import ConfigError, DataError
from pixgraph.pretrain.spml.config import MarksConfig

THIN = ("points", "scribbles")
"""Annotations that grow by `MarksConfig.thicken` pixels."""

MEANT = {
    **{kind: tuple(dict.fromkeys((kind, "tags"))) for kind in KINDS},
    **dict.fromkeys(SHARES, ("masks", *THIN, "tags")),
}
"""What `pixgraph data annotate --kind` wrote, and the annotations that it serves as; each shows the tags, too."""

PSEUDO = "labels"
"""Folder of a run that holds the labels that were made from tags."""


class PseudoLabels:
    """Labels of pictures in files, as `pixgraph.pretrain.spml.tag_labels.write_labels` leaves them.

    Args:
        folder: Where they lie.
        split: The pictures.
    """

    def __init__(self, folder: Path, split: SemanticSplit) -> None:
        self.folder, self.split = folder, split

    def __call__(self, index: int) -> np.ndarray:
        """Labels (H, W) uint8 of a picture.

        Raises:
            DataError: The file is missing or broken.
        """
        return read_mask(self.path(index))

    def path(self, index: int) -> Path:
        """The file of a picture."""
        return label_path(self.folder, self.split.keys[index])

    def missing(self, indices: Sequence[int]) -> list[int]:
        """Those of some pictures that have no file."""
        return [index for index in indices if not self.path(index).is_file()]


def label_path(folder: Path, key: str) -> Path:
    """File of the labels of a picture that a split knows by `key`."""
    return folder / f"{key.replace('/', '__')}.png"


class WeakLabels:
    """Labels and tags of pictures under one kind of annotation: a pure function of picture and settings.

    Args:
        split: The pictures; with full masks where the marks are made from them.
        kind: "masks", "points", "scribbles", "boxes" or "tags".
        marks: How they are made, or where their files are.

    Attributes:
        indices: The pictures that are used, ascending.
        pseudo: Labels in place of those of the annotation, as tags need them.

    Raises:
        ConfigError: The budget is larger than the data or leaves out a class, or settings contradict.
        DataError: There are no files or no labelled pictures, or none marks some class.
    """

    def __init__(self, split: SemanticSplit, kind: str, marks: MarksConfig) -> None:
        self.split, self.kind, self.marks = split, kind, marks
        self.pseudo: PseudoLabels | None = None
        self.saved = None if marks.folder is None else SavedAnnotations(marks.folder, split)
        if self.saved is None:
            chosen = choose_labelled(split, marks.num_pictures, seed=marks.seed, option="marks.num_pictures")
            require_classes(split)
            places = {key: index for index, key in enumerate(split.keys)}
            self.indices = sorted(places[key] for key in chosen.keys)
            return
        if marks.num_pictures is not None:
            raise ConfigError(
                f"marks.num_pictures: got {marks.num_pictures} beside marks.folder, expected one of them: the folder's "
                "pictures are all used; leave one out"
            )
        meant = MEANT.get(str(self.saved.kind), KINDS)
        if kind not in meant:
            raise ConfigError(
                f"annotation: got {kind} with marks.folder {marks.folder}, whose annotations are {self.saved.kind}, "
                f"expected {' or '.join(meant)}; correct it, or annotate with --kind {kind}"
            )
        self.indices = sorted(self.saved.files)
        self._refuse_missing()

    def __repr__(self) -> str:
        return f"WeakLabels({self.kind}, pictures={len(self.indices)} of {self.split!r})"

    @property
    def digest(self) -> str:
        """16 hex digits over the pictures and what is annotated of them: a run goes on with the same ones only."""
        names = [self.split.keys[i] for i in self.indices]
        made = self.saved.hash if self.saved is not None else str(self.marks)
        return hashlib.sha256("\n".join([self.kind, made, *names]).encode()).hexdigest()[:16]

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Labels uint8 (H, W) with 254 where nothing is known, and tags bool (C,), background included where marked.

        Args:
            index: Number of the picture in the split.

        Raises:
            DataError: A file is missing or broken.
        """
        known, tags = self.annotated(index)
        if self.pseudo is not None:
            known = self.pseudo(index)
        elif known is None:
            known = np.full(self.split.read_image(index).shape[:2], UNLABELLED, np.uint8)
        elif self.kind in THIN:
            known = thicken(known, self.marks.thicken)
        return known, tags

    def known(self, index: int) -> np.ndarray:
        """The labels alone."""
        return self(index)[0]

    def tags(self, index: int) -> np.ndarray:
        """The tags alone, bool (C,)."""
        return self.annotated(index)[1]

    def annotated(self, index: int) -> tuple[np.ndarray | None, np.ndarray]:
        """The labels (H, W) uint8 that the annotation itself gives, none for tags, and the tags, bool (C,)."""
        if self.saved is not None:
            found = self.saved.read(index)
        else:
            found = make_annotation(
                self.split.read_label(index),
                cast(AnnotationKind, self.kind),
                self.marks.seed,
                self.split.keys[index],
                self.marks.num_points,
                self.marks.width,
                self.split.background,
            )
        tags = np.zeros(self.split.classes, bool)
        tags[sorted(found.tags)] = True
        return None if self.kind == "tags" else found.label, tags

    def _refuse_missing(self) -> None:
        """Look for every class in the files.

        Raises:
            DataError: One is in none.
        """
        seen = np.zeros(self.split.classes, bool)
        for index in self.indices:
            label, tags = self.annotated(index)
            seen |= tags
            if label is not None:
                seen[np.unique(label[label < UNLABELLED])] = True
        if self.kind == "tags" and self.split.background is not None:
            seen[self.split.background] = True
        if not seen.all():
            missing = [self.split.names[c] for c in np.flatnonzero(~seen)]
            raise DataError(
                f"{self.marks.folder}: none of {len(self.indices)} annotations marks {some(missing)}, expected every "
                f"class of {self.split.name}; annotate more pictures"
            )
