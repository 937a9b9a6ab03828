"""Everybody's own pictures: a folder with ``images`` and ``masks`` in either of two layouts.

**A folder a class**: ``images/<class>/<name>.*`` and ``masks/<class>/<name>.png``, one object class a mask, foreground
above 127 (above 0 where no number exceeds 1). Pictures in ``images/unlabelled/`` have no masks.

**Class indices**: ``images/<name>.*`` and ``masks/<name>.png`` with class indices as pixel values (255: unknown; 254,
where that is no class: nobody annotated it, which few-shot episodes take as unknown), subfolders allowed, and
``classes.json``: ``{"0": "background", "1": "cat"}`` or ``["background", "cat"]``. An entry called void, ignore or
unlabelled is read as 255; where index 0 is no background it is a class as any other.

In both, a picture without a mask is unlabelled, and a mask without a picture is an error. Files of marks, of supports
or of a training, hold the same numbers as masks: 1 and 0 for the class of the folder and all else, or those of
``classes.json``.

**Splits**. ``splits/train.txt``, ``val.txt`` and ``test.txt`` each list class names (few-shot training: the classes of
the lists must differ) or pictures, by name or as ``folder/name``. Without lists, subfolders ``images/train`` etc. of
the second layout are the splits; without those, of five classes in alphabetical order three are for training, one for
validation, one for testing, and fewer than five classes are shown in every split. The split ``all`` shows everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixgraph.config import SourceConfig
from pixgraph.data.base import IGNORE, FewShotDataset, Sample
from pixgraph.data.base import UNLABELLED as NOT_ANNOTATED
from pixgraph.data.class_table import BACKGROUND, ClassTable, read_classes
from pixgraph.data.file_numbers import FileNumbers
from pixgraph.data.images import read_foreground, read_mask
from pixgraph.data.layout import by_name, files_in, folders, name_in, natural, need, pictures, read_lines, some
from pixgraph.errors import DataError

NAME = "folder"
SPLITS = ("train", "val", "test", "all")
UNLABELLED = ("unlabelled", "unlabeled")
"""Names of the folder whose pictures need no masks."""

_HINT = (
    "expected images/<class>/* with masks/<class>/*.png, or images/* with masks/*.png of class indices and classes.json"
)
_FEWEST_TO_SPLIT = 5


class FolderDataset(FewShotDataset):
    """Pictures and masks in a folder of the user's own; the module describes the two layouts and the splits.

    Args:
        root: The folder.
        split: ``"train"``, ``"val"``, ``"test"`` or ``"all"``.
        unmasked: Whether pictures may all be without masks, as those that are marked instead.

    Raises:
        DataError: Neither layout is there, a list names something unknown, or a mask has no picture.
    """

    def __init__(self, root: str | Path | None, split: str = "all", unmasked: bool = False) -> None:
        if split not in SPLITS:
            raise DataError(f"{NAME}: got split {split!r}, expected one of {', '.join(SPLITS)}; correct it")
        folder = need(NAME, root, "images", *([] if unmasked else ["masks"]), hint=_HINT)
        content = _by_index(folder) if (folder / "classes.json").exists() else _by_class(folder, unmasked)
        if not unmasked and not any(sample.mask for sample in content.samples):
            raise DataError(f"{folder}/masks: no mask belongs to any picture; {_HINT}, with the pictures' names")
        names, samples = _of_split(folder, content, split)
        super().__init__(NAME, split, names, samples)
        self._table = content.table
        self._ids = {name: c for c, name in content.names.items()}

    def read_mask(self, index: int) -> np.ndarray:
        """Class ids, uint8 (H, W), 255 unknown.

        Raises:
            DataError: The mask is missing, broken, of another size than the picture, or has an index that
                ``classes.json`` does not name.
        """
        mask = self.read_partial_mask(index)
        if NOT_ANNOTATED not in self._ids.values():
            mask[mask == NOT_ANNOTATED] = IGNORE
        return mask

    def read_partial_mask(self, index: int) -> np.ndarray:
        """Class ids, uint8 (H, W), 254 where nobody annotated, 255 unknown.

        Raises:
            DataError: As `read_mask`.
        """
        path = self.mask_path(index)
        if self._table is None:
            number = np.uint8(self._ids[path.parent.name])
            return self.checked_size(index, read_foreground(path).astype(np.uint8) * number)
        return self.checked_size(index, self._table.apply(read_mask(path), str(path)))

    def file_numbers(self, index: int) -> FileNumbers:
        """What numbers mean in the picture's mask and marks.

        Raises:
            DataError: With a folder a class, the picture is in that of the unlabelled ones.
        """
        if self._table is not None:
            return self._table.file_numbers()
        key = self.samples[index].key
        name = key.split("/")[0]
        if name not in self._ids:
            raise DataError(
                f"{self.samples[index].image}: pictures of images/{name} have no class, got marks of {key}; move both "
                "to the folder of a class"
            )
        ids = np.full(256, IGNORE, np.uint8)
        ids[[0, 1, NOT_ANNOTATED]] = 0, self._ids[name], NOT_ANNOTATED
        return FileNumbers({0: BACKGROUND[0], 1: name}, ids)

    @property
    def has_background(self) -> bool:
        """Whether ``classes.json`` names a background; with a folder a class, what lies around the objects."""
        return self._table is None or bool((self._table.ids == 0).any())


def open_split(source: SourceConfig, split: str) -> FolderDataset:
    """The split of the folder that the configuration names."""
    return FolderDataset(source.root, split)


@dataclass(frozen=True)
class _Content:
    """All that a folder holds, before a split is taken.

    Attributes:
        names: Class id to name.
        samples: All pictures.
        table: Pixel value to class id; None: each mask is of one object, its class the folder's name.
    """

    names: dict[int, str]
    samples: list[Sample]
    table: ClassTable | None


def _by_class(folder: Path, unmasked: bool) -> _Content:
    present = folders(folder / "images")
    classes = [path.name for path in present if path.name not in UNLABELLED]
    if not classes:
        raise DataError(f"{folder}: no classes.json and no class folders in images; {_HINT}")
    if len(classes) >= NOT_ANNOTATED:
        most = NOT_ANNOTATED - 1
        raise DataError(f"{folder}/images: got {len(classes)} classes, expected at most {most}; split the folder")
    samples: list[Sample] = []
    any_masks = (folder / "masks").is_dir()
    for path in present:
        masks = folder / "masks" / path.name
        if path.name in classes and not unmasked and not masks.is_dir():
            raise DataError(
                f"{masks}: no such folder, expected the masks of images/{path.name}; add it, or move the pictures to "
                f"images/{UNLABELLED[0]}"
            )
        samples += _paired(path, masks, folder / "images", recursive=False)
    orphans = sorted({path.name for path in folders(folder / "masks")} - set(classes)) if any_masks else []
    if orphans:
        raise DataError(f"{folder}/masks/{orphans[0]}: no folder images/{orphans[0]}; rename or remove the masks")
    return _Content(dict(enumerate(classes, start=1)), samples, None)


def _by_index(folder: Path) -> _Content:
    table = read_classes(folder / "classes.json")
    images = folder / "images"
    return _Content(table.names, _paired(images, folder / "masks", images, recursive=True), table)


def _paired(images: Path, masks: Path, base: Path, recursive: bool) -> list[Sample]:
    """The pictures below `images` with the masks of the same name below `masks`; keys are relative to `base`."""
    found = pictures(images, recursive)
    if not found:
        raise DataError(f"{images}: no pictures there, expected JPEG, PNG, ... files; add some or remove the folder")
    files = pictures(masks, recursive) if masks.is_dir() else []
    waiting = by_name(masks, files, "mask")
    samples: dict[str, Sample] = {}
    for path in found:
        key, name = path.relative_to(base).with_suffix("").as_posix(), name_in(images, path)
        if name in samples:
            raise DataError(f"{path}: a second picture named {key}, expected one mask a name; rename one of them")
        samples[name] = Sample(key, path, waiting.pop(name, None))
    if waiting:
        path = min(waiting.values(), key=natural)
        raise DataError(
            f"{path}: no picture of this name in {images} ({len(waiting)} such masks); rename the mask like its "
            "picture or remove it"
        )
    return list(samples.values())


def _of_split(folder: Path, content: _Content, split: str) -> tuple[dict[int, str], list[Sample]]:
    """The classes and pictures of a split."""
    names, samples = content.names, content.samples
    if split == "all":
        return names, samples
    place = folder / "splits"
    lists = sorted(path.name for path in files_in(place, False) if path.suffix == ".txt") if place.is_dir() else []
    if lists:
        path = folder / "splits" / f"{split}.txt"
        if path.name not in lists:
            raise DataError(
                f"{path}: no such list beside {some(lists)}, expected one a split; add it or use split 'all'"
            )
        lines = read_lines(path)
        if set(lines) <= set(names.values()):
            return _classes(content, {c: name for c, name in names.items() if name in lines}, split)
        return names, _listed(path, lines, samples)
    if content.table is not None and (folder / "images" / split).is_dir():
        return names, [sample for sample in samples if sample.key.startswith(f"{split}/")]
    if len(names) < _FEWEST_TO_SPLIT:
        return names, samples
    turn = {"val": (3,), "test": (4,)}.get(split, (0, 1, 2))
    ordered = sorted(names, key=names.__getitem__)
    chosen = [c for i, c in enumerate(ordered) if i % _FEWEST_TO_SPLIT in turn]
    return _classes(content, {c: names[c] for c in chosen}, split)


def _classes(content: _Content, names: dict[int, str], split: str) -> tuple[dict[int, str], list[Sample]]:
    """The pictures for some classes: with a folder a class theirs only; unlabelled ones go to training."""
    if content.table is not None:
        return names, content.samples  # which picture shows what stands in the masks; other classes are background
    wanted = set(names.values()) | (set(UNLABELLED) if split == "train" else set())
    return names, [sample for sample in content.samples if sample.key.split("/")[0] in wanted]


def _listed(path: Path, lines: list[str], samples: list[Sample]) -> list[Sample]:
    """The pictures that a list names, in the list's order."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        for name in {sample.key, sample.key.rsplit("/", 1)[-1]}:
            by_name.setdefault(name, []).append(sample)
            if sample.image is not None:
                by_name.setdefault(name + sample.image.suffix, []).append(sample)
    unknown = [line for line in lines if line not in by_name]
    if unknown:
        raise DataError(
            f"{path}: got {some(unknown)}, expected the names of classes or of pictures in images; correct the list"
        )
    for line in lines:
        if len(by_name[line]) > 1:
            raise DataError(f"{path}: {line!r} names {len(by_name[line])} pictures, expected one; write folder/{line}")
    return [by_name[line][0] for line in dict.fromkeys(lines)]
