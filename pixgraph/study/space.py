"""The search space: a YAML list of factors, each with the values that it may take."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pixgraph.config import Config
from pixgraph.config_check import build, check
from pixgraph.errors import ConfigError
from pixgraph.study.factors import MODES, Choice, Factor, Range

ENTRY = ("key", "name", "choices", "options", "range", "grid", "modes", "when", "note")
"""What an entry of the file may hold."""
RANGE = ("low", "high", "step", "log")
STUDIED = ("graph", "model", "loss", "train")
"""Sections that a factor may change; the features and the episodes are the same for all trials."""

DEFAULT = "space.yaml"
"""The space of the package, below `pixgraph/study`."""


def default_space() -> str:
    """Text of the package's own space."""
    return files("pixgraph.study").joinpath(DEFAULT).read_text(encoding="utf-8")


def load_space(path: str | Path | None, base: Config) -> list[Factor]:
    """The factors of a file, or of the package's own space.

    An entry is one of

        - {key: graph.stride, choices: [2, 4, 8, 16]}
        - {key: graph.num_fg, range: {low: 8, high: 256, log: true}, grid: [8, 32, 128]}
        - {name: lattice, options: {none: {graph.dilations: []}, far: {graph.dilations: [1, 8]}}}

    and may have ``name`` (in tables), ``grid`` (other values for one-factor-at-a-time studies), ``modes`` (where the
    factor can act: propagate, train), ``when`` (``{other name: [values]}``: only tried beside these) and ``note``.
    The value of `base` is the factor's default; where no option gives it, one named "default" does.

    Args:
        path: YAML file; `None`: the package's own.
        base: The configuration around which the study moves.

    Raises:
        ConfigError: The file is missing or not YAML, an entry is malformed, a key is unknown, a value illegal.
    """
    import yaml

    where = DEFAULT if path is None else str(path)
    try:
        text = default_space() if path is None else Path(path).read_text(encoding="utf-8")
        entries = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"--space {where}: {error.strerror}; expected a YAML file of factors") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(entries, list) or not entries:
        raise ConfigError(
            f"{where}: got {_short(entries)}, expected a list of at least one factor, such as "
            "- {key: graph.stride, choices: [4, 8]}"
        )
    factors = [_factor(entry, f"{where}: factor {i}", base) for i, entry in enumerate(entries, 1)]
    _check_names(factors, where)
    return factors


def acting(factors: Sequence[Factor], mode: str) -> list[Factor]:
    """The factors that can act in a mode.

    Raises:
        ConfigError: There are none.
    """
    found = [f for f in factors if mode in f.modes]
    if not found:
        raise ConfigError(f"space: got no factor that can act in mode {mode}, expected at least one; see its `modes`")
    return found


def with_settings(base: Config, settings: Mapping[str, Any]) -> Config:
    """A checked copy of a configuration with other values at dotted keys.

    Raises:
        ConfigError: A key is unknown, a value illegal, or settings contradict each other.
    """
    values: dict[str, Any] = dataclasses.asdict(base)
    for key, value in settings.items():
        *path, last = key.split(".")
        if path and path[0] in values and path[0] not in STUDIED:
            raise ConfigError(
                f"{key}: cannot be studied, for features and episodes are the same for all trials; "
                f"expected a setting of {', '.join(STUDIED)}"
            )
        section: Any = values
        for part in path:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict) or last not in section:
            near = difflib.get_close_matches(key, _keys(dataclasses.asdict(base)), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "expected one such as graph.stride"
            raise ConfigError(f"{key}: unknown key (value {value!r}); {hint}")
        section[last] = value
    return check(build(Config, values))


def value_at(config: Config, key: str) -> Any:
    """The value of a configuration at a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def label(value: Any) -> str:
    """A value as tables and the storage name it.

    Example:
        >>> label([1, 2]), label(None), label("uniform"), label(True)
        ('[1, 2]', 'none', 'uniform', 'on')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def _factor(entry: Any, where: str, base: Config) -> Factor:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: got {_short(entry)}, expected a mapping with {', '.join(ENTRY)}")
    for key in entry:
        if key not in ENTRY:
            near = difflib.get_close_matches(str(key), ENTRY, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(ENTRY)}"
            raise ConfigError(f"{where}: {key}: unknown key (value {entry[key]!r}); {hint}")
    kinds = [kind for kind in ("choices", "options", "range") if kind in entry]
    if len(kinds) != 1:
        raise ConfigError(f"{where}: got {' and '.join(kinds) or 'no values'}, expected one of choices, options, range")
    named = "name" if kinds == ["options"] else "key"
    if not isinstance(entry.get(named), str):
        raise ConfigError(f"{where}: {named}: got {entry.get(named)!r}, expected text beside {kinds[0]}")
    where = f"{where} ({entry[named]})"
    name = entry.get("name", entry[named].rpartition(".")[2])
    common = {"name": name, "modes": _modes(entry, where), "when": _when(entry, where), "note": entry.get("note", "")}
    try:
        made = _range(entry, common, where, base) if kinds == ["range"] else _choice(entry, common, where, base)
        for value in {*made.grid, made.default, *(made.levels if isinstance(made, Choice) else (made.low, made.high))}:
            with_settings(base, made.settings(value))
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if text.startswith(where) else f"{where}: {text}") from error
    return made


def _choice(entry: Mapping[str, Any], common: dict[str, Any], where: str, base: Config) -> Choice:
    if "options" in entry:
        options = entry["options"]
        if not isinstance(options, Mapping) or not all(isinstance(v, Mapping) for v in options.values()):
            raise ConfigError(f"{where}: options: got {_short(options)}, expected NAME: {{KEY: VALUE, ...}}")
        levels = {label(name): dict(settings) for name, settings in options.items()}
        extra = _list(entry, "grid", where, [])
        unknown = [g for g in extra if label(g) not in levels]
        if unknown:
            raise ConfigError(f"{where}: grid: got {unknown[0]!r}, expected names among {', '.join(levels)}")
        grid = [label(g) for g in extra] or list(levels)
        sampled = list(levels)
    else:
        key, values = entry["key"], _list(entry, "choices", where, None)
        wanted = _list(entry, "grid", where, values)
        with_settings(base, {key: values[0]})  # a wrong key before its value is asked for
        levels = {label(v): {key: v} for v in (*values, *wanted, value_at(base, key))}
        grid, sampled = [label(v) for v in wanted], [label(v) for v in values]
    current = {k: value_at(with_settings(base, s), k) for s in levels.values() for k in s}
    default = next((n for n, s in levels.items() if all(value_at(base, k) == v for k, v in s.items())), None)
    if default is None:
        default = "default"
        levels = {default: {k: value_at(base, k) for k in current}, **levels}
    if default not in sampled:
        sampled = [default, *sampled]
    return Choice(
        **common, default=default, grid=tuple(g for g in grid if g != default), levels=levels, sampled=tuple(sampled)
    )


def _range(entry: Mapping[str, Any], common: dict[str, Any], where: str, base: Config) -> Range:
    given = entry["range"]
    if not isinstance(given, Mapping) or not {"low", "high"} <= set(given) <= set(RANGE):
        raise ConfigError(f"{where}: range: got {_short(given)}, expected {{low: A, high: B}} with step or log")
    low, high, step, log = (given.get(k, d) for k, d in zip(RANGE, (None, None, None, False), strict=True))
    numbers = [v for v in (low, high, step) if v is not None]
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in numbers) or not isinstance(log, bool):
        raise ConfigError(f"{where}: range: got {_short(given)}, expected numbers, and true or false for log")
    if not low < high or (log and (low <= 0 or step is not None)) or (step is not None and step <= 0):
        raise ConfigError(
            f"{where}: range: got {_short(given)}, expected low < high, step > 0, and for log low > 0 and no step"
        )
    with_settings(base, {entry["key"]: low})  # a wrong key before its value is asked for
    default = value_at(base, entry["key"])
    grid = tuple(v for v in _list(entry, "grid", where, [low, high]) if v != default)
    outside = [v for v in grid if isinstance(v, str) or not low <= v <= high]
    if outside:
        raise ConfigError(f"{where}: grid: got {outside[0]!r}, expected numbers within the range {low}..{high}")
    if default is None or not low <= default <= high:
        raise ConfigError(f"{where}: range: got {low}..{high}, expected one that holds the default {default}")
    return Range(**common, default=default, grid=grid, key=entry["key"], low=low, high=high, step=step, log=log)


def _modes(entry: Mapping[str, Any], where: str) -> tuple[str, ...]:
    modes = _list(entry, "modes", where, list(MODES))
    wrong = [m for m in modes if m not in MODES]
    if wrong:
        raise ConfigError(f"{where}: modes: got {wrong[0]!r}, expected some of {', '.join(MODES)}")
    return tuple(modes)


def _when(entry: Mapping[str, Any], where: str) -> dict[str, tuple[str, ...]]:
    when = entry.get("when", {})
    if not isinstance(when, Mapping):
        raise ConfigError(f"{where}: when: got {_short(when)}, expected {{OTHER FACTOR: [VALUES]}}")
    return {str(name): tuple(label(v) for v in (vs if isinstance(vs, list) else [vs])) for name, vs in when.items()}


def _list(entry: Mapping[str, Any], name: str, where: str, default: list[Any] | None) -> list[Any]:
    found = entry.get(name, default)
    if not isinstance(found, list) or (not found and default is None):
        raise ConfigError(f"{where}: {name}: got {_short(found)}, expected a list of values")
    return found


def _check_names(factors: Sequence[Factor], where: str) -> None:
    names = [f.name for f in factors]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice:
        raise ConfigError(f"{where}: got two factors named {twice!r}, expected one; give one of them another `name`")
    for i, factor in enumerate(factors):
        for other in factor.when:
            if other not in names[:i]:
                raise ConfigError(
                    f"{where}: {factor.name}: when: got {other!r}, expected a factor that stands before it: "
                    f"{', '.join(names[:i]) or 'none does'}"
                )


def _keys(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        found += _keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
