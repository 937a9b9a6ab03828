"""Arguments of Python callers, checked where they come in: a wrong one is named, not what breaks because of it."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np

from pixgraph.errors import ConfigError, DataError


def checked(name: str, value: Any, kinds: type | tuple[type, ...], expected: str) -> Any:
    """The argument itself, when it is of one of some types; a boolean is no number.

    Raises:
        ConfigError: It is of another type.

    Example:
        >>> checked("tile", 64, Integral, "a whole number")
        64
    """
    if not isinstance(value, kinds) or isinstance(value, (bool, np.bool_)):
        raise ConfigError(f"{name}: got {short(value)}, expected {expected}; correct it")
    return value


def truth_value(name: str, value: Any) -> bool:
    """A boolean of Python or NumPy.

    Raises:
        ConfigError: It is none.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ConfigError(f"{name}: got {short(value)}, expected True or False; correct it")
    return bool(value)


def whole_number(name: str, value: Any) -> int:
    """A whole number of Python or NumPy.

    Raises:
        ConfigError: It is none.
    """
    return int(checked(name, value, Integral, "a whole number"))


def names_by_id(names: Any) -> dict[int, str]:
    """Names of classes by their ids; none for `None`.

    Raises:
        ConfigError: It is no mapping, a name is no text, two classes have the same, or it is "background".
    """
    expected = "a mapping of class ids to names such as {1: 'cat'}"
    found = dict(checked("class_names", {} if names is None else names, Mapping, expected))
    for c, name in found.items():
        whole_number("class_names", c)
        checked(f"class_names: {c}", name, str, "a name")
    for name, count in Counter(["background", *(found[c] for c in found if c)]).items():
        if count > 1:
            raise ConfigError(f"class_names: got {name!r} more than once, the background counted; rename a class")
    return found


def several(name: str, value: Any, expected: str) -> list[Any]:
    """The items of a list, array or other series; text and mappings are none.

    Raises:
        DataError: It is none.
    """
    single = isinstance(value, (str, bytes, Mapping)) or getattr(value, "ndim", 1) == 0
    if single or not isinstance(value, Iterable):
        raise DataError(f"{name}: got {short(value)}, expected {expected}; correct it")
    return list(value)


def short(value: Any) -> str:
    """What a value looks like, cut to a part of a line."""
    return " ".join(reprlib.repr(value).split())
