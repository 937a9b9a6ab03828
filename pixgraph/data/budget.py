"""Which pictures of a data set are labelled when only a few may be, chosen so that all classes are shown."""

from __future__ import annotations

import numpy as np

from pixgraph.data.label_choice import LabelChoice
from pixgraph.data.layout import some
from pixgraph.data.semantic import SemanticSplit
from pixgraph.errors import ConfigError, DataError

__all__ = ["MIN_CLASSES", "LabelChoice", "choose_labelled", "require_classes"]

MIN_CLASSES = {"pascal5i": 3, "cityscapes": 12}
"""Classes that a chosen picture shows at least, as ReCo has it; other data sets: the median of their pictures."""


def choose_labelled(
    split: SemanticSplit,
    num_labeled: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
    min_classes: int | None = None,
    allow_missing: bool = False,
    option: str = "num_labeled",
) -> LabelChoice:
    """Choose pictures one after the other so that rare classes are not left out (ReCo, Liu et al., ICLR 2022).

    The pictures stand in a random order, read round and round; the next one chosen is the first that shows a class
    which the chosen ones show least, and at least `min_classes` classes. Where no picture left satisfies both, the one
    with most classes among those that show a least shown class is taken, and a class without any picture left no
    longer counts. A smaller budget is a subset of a larger one with the same seed.

    Args:
        split: Where the pictures come from; only labelled ones can be chosen.
        num_labeled: How many; with neither this nor `fraction`, all.
        fraction: How many as a share of the labelled pictures, in (0, 1], rounded, at least 1.
        seed: Seed of the order, >= 0.
        min_classes: Classes that a picture should show, background counted; the default is in `MIN_CLASSES`.
        allow_missing: Accept that a class is on none of the chosen pictures.
        option: The setting that the user knows `num_labeled` by; `fraction` and `min_classes` are of its section.

    Raises:
        ConfigError: The budget is out of range, or no chosen picture shows some class that others show.
        DataError: No picture is labelled.
    """
    shows = split.shows()
    labelled = np.array([split.has_label(i) for i in range(len(split))], bool)
    count = _count(split, num_labeled, fraction, int(labelled.sum()), option)
    least = _least_classes(split, shows[labelled], min_classes, _beside(option, "min_classes"))
    if seed < 0:
        raise ConfigError(f"seed: got {seed}, expected 0 or more; correct it")
    # Keys, not positions, are shuffled: the choice does not depend on the order in which files were found.
    by_key = np.array(sorted(np.flatnonzero(labelled), key=lambda i: split.keys[i]), int)
    order = by_key[np.random.default_rng([seed, 0xB0D6E7]).permutation(len(by_key))]
    chosen = order if count == len(order) else order[_balanced(shows[order], count, least)]
    absent = shows.any(0) & ~shows[chosen].any(0)
    if absent.any() and not allow_missing:
        names = [split.names[c] for c in np.flatnonzero(absent)]
        raise ConfigError(
            f"{option}: no picture of the {count} chosen shows {some(names)}, expected every class of {split.name} "
            f"({split.split}) on at least one; raise the number or take another seed"
        )
    rule = "all" if count == len(order) else f"{count} pictures, least shown class first, {least} classes or more"
    return LabelChoice(tuple(sorted(split.keys[i] for i in chosen)), split.name, split.split, seed, rule)


def require_classes(split: SemanticSplit) -> None:
    """Refuse to learn from pictures among which some class is never to be seen, whatever the budget.

    Raises:
        DataError: A class is on no labelled picture.
    """
    absent = ~split.shows().any(0)
    if absent.any():
        count = sum(split.has_label(i) for i in range(len(split)))
        names = [split.names[c] for c in np.flatnonzero(absent)]
        raise DataError(
            f"{split.name} ({split.split}): none of the {count} labelled pictures shows {some(names)}, expected every "
            "class on at least one; label pictures that do, or leave the class out of the data set"
        )


def _count(split: SemanticSplit, number: int | None, fraction: float | None, available: int, option: str) -> int:
    """How many pictures the settings ask for.

    Raises:
        ConfigError: Both are given, or the number is out of range.
        DataError: There are none to choose from.
    """
    if not available:
        raise DataError(
            f"{split.name} ({split.split}): none of the {len(split)} pictures is labelled, expected some; add their "
            "masks, or choose another split"
        )
    share = _beside(option, "fraction")
    if number is not None and fraction is not None:
        raise ConfigError(f"{option}: got {number} beside {share} {fraction}, expected one of them; leave one out")
    if fraction is not None:
        if not 0 < fraction <= 1:
            raise ConfigError(f"{share}: got {fraction}, expected more than 0 and at most 1; correct it")
        number = max(1, round(fraction * available))
    number = available if number is None else number
    if not 1 <= number <= available:
        raise ConfigError(
            f"{option}: got {number}, expected 1 to {available}, the labelled pictures of {split.name} "
            f"({split.split}); correct it"
        )
    return number


def _least_classes(split: SemanticSplit, shows: np.ndarray, given: int | None, option: str) -> int:
    """Classes that a chosen picture should show.

    Raises:
        ConfigError: More are asked for than the data set has.
    """
    if given is None:
        given = MIN_CLASSES.get(split.name, int(np.median(shows.sum(1))) if len(shows) else 1)
        return max(1, min(given, split.classes))
    if not 1 <= given <= split.classes:
        raise ConfigError(f"{option}: got {given}, expected 1 to the {split.classes} classes; correct it")
    return given


def _beside(option: str, name: str) -> str:
    """Another setting of an option's section."""
    return f"{option[: option.rfind('.') + 1]}{name}"


def _balanced(shows: np.ndarray, count: int, least: int) -> np.ndarray:
    """Rows of `shows` (N, C), in the order in which they are chosen."""
    free = np.ones(len(shows), bool)
    rich = shows.sum(1) >= least
    seen = np.zeros(shows.shape[1], np.int64)
    chosen: list[int] = []
    place = 0
    while len(chosen) < count:
        left = shows[free].any(0)
        wanted = shows[:, left & (seen == seen[left].min())].any(1) if left.any() else np.ones(len(shows), bool)
        fitting = np.flatnonzero(free & wanted & rich)
        if fitting.size:
            row = int(fitting[int(np.searchsorted(fitting, place)) % fitting.size])
            place = row + 1
        else:
            row = int(np.where(free & wanted, shows.sum(1), -1).argmax())
        free[row] = False
        seen += shows[row]
        chosen.append(row)
    return np.array(chosen, int)
