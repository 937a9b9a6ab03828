"""A folder of labelled pictures: masks as `pixgraph.data.folder` reads them, or marks in their place or beside them.

``images/NAME.*`` and ``marks/NAME.json``, ``.png`` or ``.xml`` (see `pixgraph.data.annotation_files`) with
``classes.json``, whose names or numbers the marks use; or ``images/CLASS/NAME.*`` and ``marks/CLASS/NAME.json``, where
class 1, or CLASS, is the folder's, and 0, or background, everything else. So what `pixgraph data annotate` writes for
such a folder can be its ``marks``. A picture may have a mask besides; where it has, marks count only for pixels that
the mask leaves unlabelled (254). Pictures with neither are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixgraph.data.annotation_files import read_annotation
from pixgraph.data.annotation_sets import mark_files
from pixgraph.data.base import UNLABELLED
from pixgraph.data.file_numbers import FileNumbers
from pixgraph.data.folder import FolderDataset
from pixgraph.data.layout import name_in, natural
from pixgraph.data.marks import from_marks
from pixgraph.errors import DataError
from pixgraph.marked import Support, joined_with_mask, marked_support, shown_classes

MARKS = "marks"


@dataclass(frozen=True)
class SupportFolder:
    """What a folder of labelled pictures holds.

    Attributes:
        supports: The labelled pictures in natural order.
        names: Class id to name.
    """

    supports: list[Support]
    names: dict[int, str]


def read_support_folder(root: str | Path) -> SupportFolder:
    """The pictures of a folder that have a mask or marks.

    Raises:
        DataError: The layout is another, a mask or a file of marks is broken or has no picture, marks contradict the
            mask, or no class is labelled.
    """
    folder = Path(root).expanduser()
    marked = (folder / MARKS).is_dir()
    pictures = FolderDataset(folder, "all", unmasked=marked)
    files = mark_files(folder / MARKS) if marked else {}
    found = []
    for index, sample in enumerate(pictures.samples):
        assert sample.image is not None  # a folder's pictures are files
        marks = files.pop(name_in(folder / "images", sample.image), None)
        mask = pictures.read_partial_mask(index) if sample.mask is not None else None
        if marks is not None:
            found.append(_support(pictures, index, marks, mask))
        elif mask is not None:
            found.append(Support(pictures.read_image(index), mask))
    if files:
        path = min(files.values(), key=natural)
        raise DataError(f"{path}: no picture of this name in {folder / 'images'}; rename the marks like their picture")
    if not found:
        raise DataError(f"{folder}: no picture has a mask or marks, expected masks/* or {MARKS}/*.json; label some")
    shown_classes(found, str(folder))
    return SupportFolder(found, pictures.class_names)


def _support(pictures: FolderDataset, index: int, marks: Path, mask: np.ndarray | None) -> Support:
    rgb = pictures.read_image(index)
    shape = (rgb.shape[0], rgb.shape[1])
    numbers: FileNumbers = pictures.file_numbers(index)
    made = read_annotation(marks, shape, numbers.names, numbers.background).renumbered(numbers.ids)
    if made.label is None:
        only = "no pixel, only tags" if made.tags else "nothing"
        raise DataError(f"{marks}: marks {only}; add points, scribbles or boxes")
    drawn = from_marks(shape, made.points, made.scribbles, where=str(marks), crossing=True).label
    if not (made.points or made.scribbles or made.boxes):
        drawn = made.label  # a picture of marks
    support = marked_support(rgb, made.label, made.boxes, None if drawn is None else drawn < UNLABELLED)
    names = {0: "background", **pictures.class_names}
    return support if mask is None else joined_with_mask(support, mask, drawn, str(marks), names)
