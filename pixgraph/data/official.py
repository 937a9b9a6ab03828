"""What the published data sets have in common: splits, folds, and files that must lie where the publisher put them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from pixgraph.data.layout import natural
from pixgraph.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")
"""The splits that every data set knows."""


def check_split(name: str, split: str) -> None:
    """Refuse a split that no data set has.

    Raises:
        ConfigError: `split` is not one of `SPLITS`.
    """
    if split not in SPLITS:
        raise ConfigError(f"{name}: got split {split!r}, expected one of {', '.join(SPLITS)}; correct it")


def check_fold(name: str, fold: int, folds: int = 4) -> None:
    """Refuse a fold outside 0..folds-1.

    Raises:
        ConfigError: The fold does not exist.
    """
    if not 0 <= fold < folds:
        raise ConfigError(f"{name}: got fold {fold}, expected 0 to {folds - 1}; correct data.fold")


def first_existing(name: str, what: str, places: Sequence[Path], hint: str) -> Path:
    """The first of the places that exists.

    Args:
        name: The data set, for the message.
        what: What is looked for, for the message.
        places: Files or folders, in the order in which they are preferred.
        hint: What to do when there is none.

    Raises:
        DataError: None of them exists; the message lists them all.
    """
    for path in places:
        if path.exists():
            return path
    raise DataError(f"{name}: looked for {what} at {', '.join(map(str, places))}, found none. {hint}")


def files_by_stem(folder: Path, endings: Collection[str]) -> dict[str, Path]:
    """Files of a folder by name without ending, in natural order; empty where there is no such folder.

    Args:
        folder: Where to look; not below it.
        endings: Accepted endings in lower case, with the dot.
    """
    if not folder.is_dir():
        return {}
    found = (p for p in folder.iterdir() if p.suffix.lower() in endings and p.name[0] != ".")
    return {p.stem: p for p in sorted(found, key=natural)}


def refuse_missing(name: str, what: str, missing: Sequence[str], where: str | Path, hint: str) -> None:
    """Complain about files that are listed, or paired with others, and not there.

    Raises:
        DataError: `missing` is not empty; the message gives their number and the first one.
    """
    if missing:
        raise DataError(
            f"{name}: {len(missing)} {what} are missing, the first is {missing[0]!r}; looked in {where}. {hint}"
        )


def refuse_empty(name: str, what: str, found: Collection[object], where: str | Path, hint: str) -> None:
    """Complain about a folder that is there and holds nothing of use.

    Raises:
        DataError: `found` is empty.
    """
    if not found:
        raise DataError(f"{name}: looked for {what} in {where}, found none. {hint}")
