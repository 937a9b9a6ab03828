"""``classes.json``: what the numbers in a folder's masks mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixgraph.data.base import IGNORE, UNLABELLED
from pixgraph.errors import DataError

BACKGROUND = ("background", "_background_", "__background__", "bg")
"""Names of the entry that is no class."""

UNKNOWN = ("void", "ignore", "unlabelled", "unlabeled", "unknown")
"""Names of the entry whose pixels are read as 255."""


@dataclass(frozen=True)
class ClassTable:
    """Numbers in mask files to class ids.

    Attributes:
        names: Class id (1..254) to name; the id is the number in the file, or that plus one where number 0 is a class.
        ids: int16 (256,): class id of each number, 0 background, 255 unknown, 254 for the number 254 where that is no
            class (`UNLABELLED`), -1 where the file names no such class.
    """

    names: dict[int, str]
    ids: np.ndarray

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
    if not names or max(names) >= IGNORE or len(set(names.values())) < len(names):
        raise DataError(
            f"{path}: got {len(names)} classes, {len(set(names.values()))} different names, expected 1 to 254 classes "
            "of different names besides background; correct the file"
        )
    if UNLABELLED in names and UNLABELLED not in named:
        ids[UNLABELLED] = -1  # a class has this id, so the number means nothing
    return ClassTable(names, ids)


def _entries(path: Path) -> dict[int, str]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        table = dict(enumerate(content)) if isinstance(content, list) else {int(n): v for n, v in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f'{path}: cannot read the classes ({error}); expected {{"0": "background", "1": "cat"}} or a list of names'
        ) from error
    bad = [n for n, name in table.items() if not (0 <= n <= IGNORE and isinstance(name, str) and name.strip())]
    if bad:
        raise DataError(f"{path}: got {bad[0]}: {table[bad[0]]!r}, expected an index in 0..255 and a name; correct it")
    return table
