"""``classes.json``: what the numbers in a folder's masks mean."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.data.file_numbers import FileNumbers
from pixgraph.data.json_files import read_json
from pixgraph.errors import DataError

BACKGROUND = ("background", "_background_", "__background__", "bg")
"""Names of the entry that is no class."""

UNKNOWN = ("void", "ignore", "unlabelled", "unlabeled", "unknown")
"""Names of the entry whose pixels are read as 255."""


@dataclass(frozen=True)
class ClassTable:
    """Numbers in mask files to class ids.

    Attributes:
        names: Class id (1..253) to name; the id is the number in the file, or that plus one where number 0 is a class.
        ids: int16 (256,): class id of each number, 0 background, 254 not marked, 255 unknown, -1 where there is no
            such class.
        entries: Number in the file to name, as classes.json has them.
    """

    names: dict[int, str]
    ids: np.ndarray
    entries: dict[int, str]

    def file_numbers(self) -> FileNumbers:
        """What numbers mean in masks and marks; an entry called void, say, is 255 in both."""
        known = [int(n) for n in np.flatnonzero(self.ids[:UNLABELLED] >= 0)]
        ids = np.where(self.ids < 0, IGNORE, self.ids).astype(np.uint8)
        return FileNumbers({n: self.entries[n] if ids[n] else BACKGROUND[0] for n in known}, ids)

    def apply(self, numbers: np.ndarray, where: str) -> np.ndarray:
        """Class ids of a mask (H, W) uint8.

        Raises:
            DataError: The mask has a number without a name; the message starts with `where`.
        """
        found = self.ids[numbers]
        if found.min(initial=0) < 0:
            strange = ", ".join(str(n) for n in np.unique(numbers[found < 0])[:5])
            known = ", ".join(str(n) for n in np.flatnonzero(self.ids[:UNLABELLED] >= 0)[:20])
            raise DataError(
                f"{where}: got class index {strange}, expected one of classes.json (first: {known}), 254 or 255; "
                "name it in classes.json or correct the mask"
            )
        return found.astype(np.uint8)


def read_classes(path: Path) -> ClassTable:
    """Read ``{"0": "background", "1": "cat"}`` or ``["background", "cat"]``.

    Raises:
        DataError: The file is broken, or its numbers or names are out of range, double, or not there.
    """
    named = _entries(path)
    plain = {n: name.strip().lower() for n, name in named.items()}
    shift = int(plain.get(0, BACKGROUND[0]) not in BACKGROUND + UNKNOWN)
    ids = np.full(256, -1, np.int16)
    ids[[UNLABELLED, IGNORE]] = UNLABELLED, IGNORE
    if not shift:
        ids[0] = 0
    names: dict[int, str] = {}
    for number, name in named.items():
        if plain[number] in BACKGROUND:
            ids[number] = 0
        elif plain[number] in UNKNOWN:
            ids[number] = IGNORE
        else:
            ids[number] = number + shift
            names[number + shift] = name
    different = Counter(plain_name(name) for name in names.values())
    if not names or max(names) >= UNLABELLED or len(different) < len(names):
        twice = [name for name in names.values() if different[plain_name(name)] > 1]
        raise DataError(
            f"{path}: got {len(names)} classes, {len(different)} different names{_such_as(twice)}, expected 1 to 253 "
            "classes of names that differ in more than case besides background, for 254 means not marked; correct the "
            "file"
        )
    return ClassTable(names, ids, named)


def plain_name(name: str) -> str:
    """The form in which names of classes are compared: case, outer spaces and how accents are stored do not count."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def _such_as(names: list[str]) -> str:
    return f" ({', '.join(names[:4])})" if names else ""


def _entries(path: Path) -> dict[int, str]:
    advice = 'expected {"0": "background", "1": "cat"} or a list of names'
    content: Any = read_json(path, "the classes", advice)
    try:
        table = dict(enumerate(content)) if isinstance(content, list) else {int(n): v for n, v in content.items()}
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: cannot read the classes ({error}); {advice}") from error
    bad = [n for n, name in table.items() if not (0 <= n <= IGNORE and isinstance(name, str) and name.strip())]
    if bad:
        raise DataError(f"{path}: got {bad[0]}: {table[bad[0]]!r}, expected an index in 0..255 and a name; correct it")
    return table
