"""Annotations of a whole data set in a folder: one file a picture, so that everybody trains on the same marks."""

from __future__ import annotations

import hashlib
import json
import shutil
import unicodedata
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pixgraph.data.annotation_files import SUFFIXES, read_annotation, write_annotation
from pixgraph.data.base import FewShotDataset
from pixgraph.data.images import image_size
from pixgraph.data.json_files import read_json
from pixgraph.data.layout import by_name, files_in, some
from pixgraph.data.mark_types import Annotation
from pixgraph.data.semantic import SemanticSplit
from pixgraph.data.subset import Subset
from pixgraph.errors import ConfigError, DataError

FORMAT = "pixgraph-annotations-2"
"""Version of the folders that `write_annotations` makes."""

INDEX = "annotations.json"
"""File of a folder that says what the annotations were made from."""


class SavedAnnotations:
    """The annotations in a folder, in the class numbers of a split.

    A picture's file is called like its sample key, with one of `SUFFIXES`: ``0016E5_00390.json``, and so in subfolders
    for keys with slashes. Numbers in the files mean what they mean in the masks, see `pixgraph.data.annotation_files`.
    Hand-made folders need no index; those of ScribbleSup fit VOC as they are.

    Args:
        folder: Where they lie.
        split: The pictures that they are for.

    Attributes:
        files: Index of the picture -> its file, for the pictures that have one.

    Raises:
        DataError: There is no such folder, no file in it fits a picture, two fit one, or they are of another data set.
    """

    def __init__(self, folder: str | Path, split: SemanticSplit) -> None:
        self.folder, self.split = Path(folder).expanduser(), split
        if not self.folder.is_dir():
            raise DataError(f"annotations: no folder {folder}; make it by `pixgraph data annotate`, or correct it")
        found = mark_files(self.folder)
        names = [unicodedata.normalize("NFC", key) for key in split.keys]
        self.files = {index: found[name] for index, name in enumerate(names) if name in found}
        if not self.files:
            raise DataError(
                f"{folder}: none of {len(found)} files is called like a picture of {split.name} ({split.split}), "
                f"expected names such as {next(iter(split.keys), 'KEY')}.json; correct the folder or the data set"
            )
        self._name_strays(found)
        index = self._index()
        if index and (index.get("dataset"), index.get("split")) != (split.name, split.split):
            raise DataError(
                f"{folder}: made for {index.get('dataset')} ({index.get('split')}), got {split.name} ({split.split}); "
                "annotate this data set"
            )

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"SavedAnnotations({str(self.folder)!r}, pictures={len(self)} of {len(self.split)})"

    def __contains__(self, index: object) -> bool:
        return index in self.files

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of all files and the keys they are for."""
        return _hash((self.split.keys[index], path.read_bytes()) for index, path in self.files.items())

    @property
    def kind(self) -> str | None:
        """What `pixgraph data annotate` wrote, such as ``"boxes"``; none for a folder made by hand."""
        return self._index().get("kind")

    def read(self, index: int) -> Annotation:
        """The annotation of picture `index`, in class numbers of the split.

        Raises:
            DataError: It has none, or the file is broken; see `read_annotation`.
        """
        if index not in self.files:
            key = self.split.keys[index]
            raise DataError(f"{self.folder}: no annotation of {key}; add one or leave the picture out")
        numbers = self.split.dataset.file_numbers(index)
        shape = picture_shape(self.split.dataset, index)
        found = read_annotation(self.files[index], shape, numbers.names, numbers.background)
        return found.renumbered(self.split.to_classes(numbers.ids))

    def _name_strays(self, found: dict[str, Path]) -> None:
        """Warn of files whose pictures are not there: their names may be misspelt, or of another split."""
        dataset = self.split.dataset
        whole = dataset.dataset if isinstance(dataset, Subset) else dataset  # the others of a Subset are held out
        known = {unicodedata.normalize("NFC", sample.key) for sample in whole.samples}
        strays = [path.relative_to(self.folder).as_posix() for name, path in found.items() if name not in known]
        if strays:
            warnings.warn(
                f"{self.folder}: {len(strays)} of {len(found)} files are called like no picture of {self.split.name} "
                f"({self.split.split}) and are not used: {some(strays, 3)}; check their names",
                stacklevel=3,
            )

    def _index(self) -> dict[str, Any]:
        """What the folder says about itself; empty for a folder made by hand."""
        path = self.folder / INDEX
        if not path.exists():
            return {}
        content = read_json(path, "it", "annotate again or remove it")
        try:
            if content["format"] != FORMAT:
                raise DataError(f"{path}: got format {content['format']!r}, expected {FORMAT!r}; annotate again")
        except (KeyError, TypeError) as error:
            raise DataError(f"{path}: cannot read it ({error!r}); annotate again or remove it") from error
        return dict(content)


def write_annotations(
    folder: str | Path, split: SemanticSplit, made: Iterable[tuple[int, Annotation]], how: dict[str, Any]
) -> int:
    """Write annotations into a new folder; it appears whole or not at all.

    Args:
        folder: The folder to make; it must not exist, or be empty.
        split: The pictures.
        made: Index of a picture and its annotation in class numbers of the split. Annotations with marks, or with tags
            alone, are written as JSON, others as PNG.
        how: What made them, for the index: kind, seed, ... JSON values only.

    Returns:
        The number of files.

    Raises:
        ConfigError: The folder holds something, or is the current one.
        DataError: It cannot be written.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"out: {folder} exists and is not empty, expected a new folder; name another or remove it")
    ids = split.to_ids(np.arange(256))
    tables: list[dict[int, str]] = []
    if folder.resolve() == Path.cwd():
        raise ConfigError("out: got the current folder, expected a new one; name it, as in --out marks")
    temporary = folder.with_name(f".{folder.name}.tmp")
    written: list[tuple[str, bytes]] = []
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for index, annotation in made:
            marks = annotation.points or annotation.scribbles or annotation.boxes or annotation.label is None
            path = temporary / f"{split.keys[index]}{'.json' if marks else '.png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            numbers = split.dataset.file_numbers(index)
            write_annotation(path, annotation.renumbered(numbers.of_ids()[ids]), numbers.names)
            tables += [] if numbers.names in tables else [numbers.names]
            written.append((split.keys[index], path.read_bytes()))
        content = {"format": FORMAT, "dataset": split.name, "split": split.split, **how}
        content |= {"classes": tables[0] if len(tables) == 1 else list(split.names)}
        content |= {"pictures": len(written), "hash": _hash(written)}
        (temporary / INDEX).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        temporary.replace(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot write the annotations ({error.strerror}); check folder and disk") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(written)


def mark_files(folder: Path) -> dict[str, Path]:
    """The files of annotations in a folder by the name of their picture, see `pixgraph.data.layout.name_in`.

    Raises:
        DataError: Two of them are for one picture, or a folder cannot be read.
    """
    files = (p for p in files_in(folder) if p.suffix.lower() in SUFFIXES and p != folder / INDEX)
    return by_name(folder, files, "file of marks")


def picture_shape(dataset: FewShotDataset, index: int) -> tuple[int, int]:
    """Height and width of a picture, from its header where it is a file.

    Raises:
        DataError: The picture is missing or broken.
    """
    path = dataset.samples[index].image
    if path is not None:
        return image_size(path)
    height, width = dataset.read_image(index).shape[:2]
    return height, width


def _hash(files: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for key, content in sorted(files):
        digest.update(json.dumps([key, hashlib.sha256(content).hexdigest()]).encode())
    return digest.hexdigest()[:16]
