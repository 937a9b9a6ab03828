"""Finding pictures, masks and lists in a data set's folder, and saying what is missing there."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from pixgraph.errors import DataError

PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2")
)
"""Endings of the files that count as pictures, in lower case."""


def need(name: str, root: str | Path | None, *parts: str, hint: str = "") -> Path:
    """The folder `root` of data set `name`, after a look whether it holds all of `parts`.

    Args:
        name: The data set, for the message.
        root: The folder the user gave.
        parts: Files or folders that must lie in it, relative to it.
        hint: What to do when they do not.

    Raises:
        DataError: The folder, or one of the parts, is missing.
    """
    hint = hint or f"set the root of {name} to the folder that holds {', '.join(parts) or 'its files'}"
    if root is None:
        raise DataError(f"{name}: got no folder, expected its root; {hint}")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise DataError(f"{name}: no folder {folder}; {hint}")
    missing = [part for part in parts if not (folder / part).exists()]
    if missing:
        raise DataError(f"{name}: {folder} has no {', '.join(missing)}; {hint}")
    return folder


def natural(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sort key by which ``2.jpg`` comes before ``10.jpg``, the same on every system."""
    pieces = re.split(r"(\d+)", path.as_posix())
    return tuple((0, int(p)) if p.isascii() and p.isdigit() else (1, p) for p in pieces if p)


def files_in(folder: Path, recursive: bool = True, skip: Path | None = None) -> Iterator[Path]:
    """The files in a folder and those below it, hidden ones and links to folders, which may form a circle, left out.

    Args:
        folder: The folder.
        recursive: Whether to look below it.
        skip: A folder below it that is left out.

    Raises:
        DataError: A folder cannot be read.
    """
    without = None if skip is None else skip.resolve()
    for place, below, names in os.walk(folder, onerror=_unreadable):
        below[:] = [b for b in below if recursive and b[0] != "." and Path(place, b).resolve() != without]
        yield from (Path(place, name) for name in names if name[0] != ".")


def pictures(folder: Path, recursive: bool = False, skip: Path | None = None) -> list[Path]:
    """The picture files in a folder in natural order, hidden files left out; arguments as those of `files_in`.

    Raises:
        DataError: A folder cannot be read.
    """
    return sorted((p for p in files_in(folder, recursive, skip) if p.suffix.lower() in PICTURE_SUFFIXES), key=natural)


def folders(folder: Path) -> list[Path]:
    """The subfolders of a folder in natural order, hidden ones left out.

    Raises:
        DataError: The folder cannot be read.
    """
    try:
        found = list(folder.iterdir())
    except OSError as error:
        _unreadable(error)
    return sorted((p for p in found if p.is_dir() and p.name[0] != "."), key=natural)


def name_in(folder: Path, path: Path) -> str:
    """The name by which a picture, its mask and its marks belong together: the path below `folder` without ending.

    Names that differ only in how their accents are stored (NFC and NFD, as macOS has them) are the same.
    """
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


def by_name(folder: Path, paths: Iterable[Path], what: str) -> dict[str, Path]:
    """The files by the name of their picture, see `name_in`.

    Args:
        folder: Where the names begin.
        paths: Files below it.
        what: What they are, for the message: "mask", "file of marks".

    Raises:
        DataError: Two of them have the same name.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths, key=natural):
        other = found.setdefault(name_in(folder, path), path)
        if other != path:
            raise DataError(f"{path}: a second {what} for {name_in(folder, path)}, beside {other.name}; remove one")
    return found


def read_lines(path: Path) -> list[str]:
    """The lines of a list file, stripped, empty ones and those that start with # left out.

    Raises:
        DataError: The file is missing, is not text, or lists nothing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the list ({error}); expected a text file with one name a line") from error
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise DataError(f"{path}: the list is empty, expected one name a line; fill or remove it")
    return lines


def some(names: Sequence[str], most: int = 5) -> str:
    """A list of names cut to a readable length."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _unreadable(error: OSError) -> NoReturn:
    raise DataError(
        f"{error.filename}: cannot look into this folder ({error.strerror}), expected one that can be read; check its "
        "permissions"
    ) from error
