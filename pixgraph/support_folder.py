"""A folder of labelled pictures: masks as `pixgraph.data.folder` reads them, or marks in their place or beside them.

``images/NAME.*`` and ``marks/NAME.json``, ``.png`` or ``.xml`` (see `pixgraph.data.annotation_files`) with
``classes.json``, whose names or numbers the marks use; or ``images/CLASS/NAME.*`` and ``marks/CLASS/NAME.json``, where
class 1, or CLASS, is the folder's, and 0, or background, everything else. A picture may have a mask besides; where it
has, marks count only for pixels that the mask leaves unlabelled (254). Pictures with neither are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixgraph.data.annotation_files import SUFFIXES, read_annotation
from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.class_table import read_classes
from pixgraph.data.folder import UNLABELLED as FOLDERS_WITHOUT
from pixgraph.data.folder import FolderDataset
from pixgraph.data.images import read_image
from pixgraph.data.layout import folders, natural, need, pictures
from pixgraph.data.marks import from_marks
from pixgraph.errors import DataError
from pixgraph.marked import Support, joined_with_mask, marked_support

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
            mask, or nothing is labelled.
    """
    folder = Path(root).expanduser()
    masks = FolderDataset(folder, "all") if (folder / "masks").is_dir() or not (folder / MARKS).is_dir() else None
    if not (folder / MARKS).is_dir():
        assert masks is not None
        return SupportFolder(
            [Support(masks.read_image(i), masks.read_partial_mask(i)) for i in range(len(masks)) if masks.has_mask(i)],
            masks.class_names,
        )
    need("supports", folder, "images", hint=f"{folder}/{MARKS} needs the pictures that are marked, in images")
    table = _table(folder)
    files = _mark_files(folder)
    whole = {} if masks is None else {s.key: i for i, s in enumerate(masks.samples) if s.mask is not None}
    found = []
    for path in pictures(folder / "images", recursive=True):
        key = path.relative_to(folder / "images").with_suffix("").as_posix()
        mask = masks.read_partial_mask(whole[key]) if masks is not None and key in whole else None
        marks = files.pop(key, None)
        if marks is not None:
            found.append(_support(path, key, marks, mask, table))
        elif mask is not None:
            found.append(Support(read_image(path), mask))
    if files:
        path = min(files.values(), key=natural)
        raise DataError(f"{path}: no picture of this name in {folder / 'images'}; rename the marks like their picture")
    return SupportFolder(found, table.names)


@dataclass(frozen=True)
class _Table:
    """What the numbers in files of marks mean.

    Attributes:
        names: Class id to name.
        numbers: Number in the files to name, of class ids themselves; `None`: of one class a folder.
        ids: uint8 (256,): class id of each number.
    """

    names: dict[int, str]
    numbers: dict[int, str] | None
    ids: np.ndarray

    def of(self, key: str) -> tuple[dict[int, str], np.ndarray]:
        """Number to name and number to class id in the marks of the picture `key`."""
        if self.numbers is not None:
            return self.numbers, self.ids
        name = key.split("/")[0]
        ids = np.full(256, UNLABELLED, np.uint8)
        ids[[0, 1, IGNORE]] = 0, next(c for c, n in self.names.items() if n == name), IGNORE
        return {0: "background", 1: name}, ids


def _table(folder: Path) -> _Table:
    ids = np.full(256, UNLABELLED, np.uint8)
    if (folder / "classes.json").exists():
        table = read_classes(folder / "classes.json")
        known = np.flatnonzero((table.ids >= 0) & (table.ids < UNLABELLED))
        ids[known], ids[IGNORE] = table.ids[known], IGNORE
        return _Table(table.names, {int(n): table.names.get(int(table.ids[n]), "background") for n in known}, ids)
    names = [path.name for path in folders(folder / "images") if path.name not in FOLDERS_WITHOUT]
    if not names:
        raise DataError(
            f"{folder}: no classes.json and no class folders in images; expected {MARKS}/NAME.json beside "
            f"images/NAME.* and classes.json, or {MARKS}/CLASS/NAME.json beside images/CLASS/NAME.*"
        )
    return _Table(dict(enumerate(names, start=1)), None, ids)


def _mark_files(folder: Path) -> dict[str, Path]:
    """The files of marks by the name of their picture.

    Raises:
        DataError: Two of them are for one picture.
    """
    found: dict[str, Path] = {}
    for path in sorted((folder / MARKS).rglob("*"), key=natural):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        key = path.relative_to(folder / MARKS).with_suffix("").as_posix()
        if key in found:
            raise DataError(f"{path}: a second file of marks for {key}, beside {found[key].name}; remove one of them")
        found[key] = path
    return found


def _support(path: Path, key: str, marks: Path, mask: np.ndarray | None, table: _Table) -> Support:
    rgb = read_image(path)
    shape = (rgb.shape[0], rgb.shape[1])
    numbers, ids = table.of(key)
    background = next((n for n, name in numbers.items() if ids[n] == 0), None)
    made = read_annotation(marks, shape, numbers, background).renumbered(ids)
    if made.label is None:
        raise DataError(f"{marks}: marks no pixel, only tags; add points, scribbles or boxes")
    drawn = from_marks(shape, made.points, made.scribbles, where=str(marks)).label
    support = marked_support(rgb, made.label, made.boxes, None if drawn is None else drawn < UNLABELLED)
    return support if mask is None else joined_with_mask(support, mask, drawn, str(marks))
