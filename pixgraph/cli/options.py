"""From a command's arguments and YAML files to its checked options: jsonargparse over dataclasses."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pixgraph.config import Config
from pixgraph.config_check import build, check, legal
from pixgraph.errors import ConfigError, RunError
from pixgraph.presets.named import PRESETS, preset_settings

T = TypeVar("T")

CONFIG_HELP = "YAML file of settings; may be given several times, later files win, options win over files."
PRESET_HELP = f"Graph construction by name: {', '.join(PRESETS)}; files and options win over it."
RESUME: dict[str, Any] = {
    "nargs": "?",
    "metavar": "RUN",
    "help": "Go on with a run: a run folder, or nothing to take the one that --runs and --run name.",
}
NAME: dict[str, Any] = {"metavar": "RUN", "help": "The same as --run, which torchrun takes for an option of its own."}
PRINT_HELP = "Print the settings that result from files and options as YAML, and stop."


def parse(
    cls: type[T],
    command: str,
    argv: Sequence[str],
    base: Mapping[str, Any] | None = None,
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> T:
    """Fill the options dataclass of a command.

    Order, later wins: defaults of the dataclass, `base`, ``--preset``, each ``--config`` file, the other arguments.

    Args:
        cls: Dataclass of the options; its docstring, with an ``Attributes:`` section, is the help text.
        command: What the user typed, e.g. ``"evaluate"``.
        argv: The arguments after the command.
        base: Settings of a finished run, as its config.yaml holds them.
        more: Options beside those of the dataclass, with the arguments of ``add_argument``; they are understood and
            shown in the help, but the caller has to look for their values (`option_value`).

    Raises:
        ConfigError: A file, key or value is wrong; the message names file and line, key, value and what is legal.
        SystemExit: After ``--help`` or ``--print_config``.
    """
    parser = _parser(cls, command)
    parser.set_defaults({key: value for key, value in (base or {}).items() if not isinstance(value, (Mapping, list))})
    for name, arguments in (more or {}).items():
        parser.add_argument(name, **arguments)
    files, preset, print_config, rest = _split(_with_true(cls, argv), _has_graph(cls))
    settings = dict(base or {})
    if preset is not None:
        merge(settings, preset_settings(preset))
    for path in files:
        merge(settings, read_settings(path, cls))
    try:
        namespace = parser.parse_args(rest, namespace=parser.parse_object(settings))
    except (argparse.ArgumentError, argparse.ArgumentTypeError) as error:
        raise ConfigError(_explain(cls, parser, str(error))) from error
    names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    options = check(build(cls, {k: v for k, v in namespace.as_dict().items() if k in names}))
    if print_config:
        import yaml

        yaml.safe_dump(dataclasses.asdict(options), sys.stdout, sort_keys=False)  # type: ignore[call-overload]
        raise SystemExit(0)
    return options


def read_settings(path: str | Path, cls: type) -> dict[str, Any]:
    """Settings of a YAML file, as far as the command takes them; all keys and values of the file are checked.

    One file serves training, evaluation and prediction: sections of `Config` that this command has no use for are
    left out, and so are those that mean something else to it (``episodes``).

    Raises:
        ConfigError: The file is missing, not YAML, or holds an unknown key, a key twice, or an illegal value.
    """
    tree, values = _read_yaml(path)
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: expected 'key: value' settings, got {type(values).__name__}")
    shared = {f.name for f in dataclasses.fields(Config)}
    own = {f.name: f for f in dataclasses.fields(cls)}
    taken = command_settings(values, cls)
    for_training = {k: v for k, v in values.items() if k not in taken}
    try:
        check(build(Config, for_training))
        unknown = [k for k in taken if k not in own]
        if unknown and cls is not Config:
            known = sorted({*own} if getattr(cls, "standalone", False) else {*own, *shared})
            close = difflib.get_close_matches(str(unknown[0]), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
            raise ConfigError(f"{unknown[0]}: unknown key (value {taken[unknown[0]]!r}); {hint}")
        check(build(cls, taken))
    except ConfigError as error:
        raise ConfigError(f"{path}:{_line(tree, str(error).split(':', 1)[0])}: {error}") from error
    return taken


def _read_yaml(path: str | Path) -> tuple[Any, Any]:
    """The nodes of a YAML file, which know their lines, and its values.

    Raises:
        ConfigError: The file is missing, not YAML, or has a key twice, of which YAML would take the last.
    """
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}; expected a YAML file of settings") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: got brackets within brackets without end, expected YAML settings") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        raise ConfigError(f"{where}: not YAML ({' '.join(str(error).split())})") from error
    _refuse_twice(tree, path)
    return tree, values


def _refuse_twice(tree: Any, path: str | Path) -> None:
    """Look for a key that stands twice in a mapping of the YAML tree.

    Raises:
        ConfigError: There is one.
    """
    nodes, seen = [tree], set()
    while nodes:
        node = nodes.pop()
        # Anchors may lead back to a node, so each is looked at once.
        if id(node) in seen or getattr(node, "id", "scalar") == "scalar":
            continue
        seen.add(id(node))
        if node.id == "sequence":
            nodes += node.value
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                raise ConfigError(
                    f"{path}:{line}: {key.value}: got it twice, first in line {lines[key.value]}, expected it once; "
                    "remove one"
                )
            lines[key.value] = line
            nodes.append(value)


def command_settings(values: Mapping[str, Any], cls: type) -> dict[str, Any]:
    """Settings without those of `Config` that the command has no use for, or that mean something else to it.

    A dataclass with ``standalone = True`` has files of its own, and takes all.
    """
    shared = {f.name for f in dataclasses.fields(Config)}
    sections = get_type_hints(cls)
    whole = cls is Config or getattr(cls, "standalone", False)
    return {k: v for k, v in values.items() if k not in shared or whole or _same_meaning(k, sections)}


def merge(settings: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Add `other` to `settings`, section by section; its values win."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(settings.get(key), Mapping):
            settings[key] = dict(settings[key])
            merge(settings[key], value)
        else:
            settings[key] = value


def option_value(argv: Sequence[str], name: str) -> str | None:
    """The value of one option before the others are understood; "" where it stands alone, `None` where it is absent."""
    scout = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    scout.add_argument(name, dest="value", nargs="?", const="")
    return scout.parse_known_args(list(argv))[0].value


def with_alias(argv: Sequence[str], alias: str, name: str) -> list[str]:
    """The arguments with an option's second name replaced by its first.

    torchrun takes ``--run``, wherever it stands, for an abbreviation of an option of its own; the second names of such
    options are for those who start several processes.

    Example:
        >>> with_alias(["--name", "x", "--name=y", "--names"], "--name", "--run")
        ['--run', 'x', '--run=y', '--names']
    """
    return [name + word[len(alias) :] if word.split("=")[0] == alias else word for word in argv]


def run_settings(run: Path, cls: type) -> dict[str, Any]:
    """The settings with which a run was trained, as far as the command takes them.

    Raises:
        RunError: `run` is no run folder.
    """
    path = run / "config.yaml"
    if not path.is_file():
        what = "has no config.yaml" if run.is_dir() else "is a file" if run.exists() else "does not exist"
        raise RunError(f"{run}: {what}; expected the folder of a run, as `pixgraph train` prints it")
    return read_settings(path, cls)


def resumed_settings(argv: Sequence[str], cls: type) -> dict[str, Any] | None:
    """The settings of the run that ``--resume`` names, `None` where it is absent.

    A resumed run starts from its own settings; other arguments may repeat them, and training refuses those that differ.

    Raises:
        ConfigError: Nothing says which run.
        RunError: The run does not exist.
    """
    value = option_value(argv, "--resume")
    if value is None:
        return None
    name = option_value(argv, "--run")
    if not value and not name:
        raise ConfigError("--resume: nothing says which run; expected --resume RUN_FOLDER, or --run NAME beside it")
    folder = Path(value) if value else Path(option_value(argv, "--runs") or "runs") / str(name)
    if folder.name in ("", ".."):  # the current folder, or one above it
        folder = folder.resolve()
    return {**run_settings(folder, cls), "runs": str(folder.parent), "run": folder.name}


def _same_meaning(key: str, sections: Mapping[str, Any]) -> bool:
    """Whether the command's option is the setting of that name; `run` names a folder to write when training only."""
    return key != "run" and sections.get(key) == get_type_hints(Config)[key]


def _parser(cls: type, command: str) -> Any:
    from jsonargparse import ArgumentParser

    summary = (cls.__doc__ or "").split("Attributes:")[0].strip()
    usage = f"pixgraph {command} [--config FILE] [--OPTION VALUE ...]"
    parser = ArgumentParser(prog=f"pixgraph {command}", usage=usage, description=summary, exit_on_error=False)
    parser.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    if _has_graph(cls):
        parser.add_argument("--preset", metavar="NAME", help=PRESET_HELP)
    parser.add_argument("--print_config", action="store_true", help=PRINT_HELP)
    parser.add_class_arguments(cls, as_group=False)
    return parser


def _has_graph(cls: type) -> bool:
    """Whether the command builds graphs, and so knows presets."""
    return any(f.name == "graph" for f in dataclasses.fields(cls))


def _split(argv: Sequence[str], presets: bool) -> tuple[list[str], str | None, bool, list[str]]:
    """Take ``--config``, ``--preset`` (where there are any) and ``--print_config`` out of the arguments."""
    scout = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    scout.add_argument("--config", action="append", default=[])
    scout.add_argument("--print_config", action="store_true")
    if presets:
        scout.add_argument("--preset")
    try:
        known, rest = scout.parse_known_args(list(argv))
    except argparse.ArgumentError as error:
        if error.argument_name == "--preset":
            raise ConfigError(f"--preset: expected one of {', '.join(PRESETS)} after it") from error
        raise ConfigError("--config: expected the path of a YAML file after it") from error
    return known.config, getattr(known, "preset", None), known.print_config, rest


def _with_true(cls: type, argv: Sequence[str]) -> list[str]:
    """A switch that stands alone, as in ``--overlay --out x``, gets its value."""
    arguments = []
    for word, following in zip(argv, [*argv, "--"][1:], strict=True):
        with contextlib.suppress(KeyError, TypeError):  # not the name of a setting
            if word.startswith("--") and following.startswith("--") and legal(cls, word[2:]) == "true or false":
                word += "=true"
        arguments.append(word)
    return arguments


def _explain(cls: type, parser: Any, message: str) -> str:
    """One line in our own words for what jsonargparse found."""
    message = " ".join(message.split())
    wrong_value = re.match(r'Parser key "([\w.]+)": .*(?:Got|Given) value: (.*)$', message)
    if wrong_value:
        key, value = wrong_value.groups()
        return f"--{key}: got {value!r}, expected {legal(cls, key)}"
    no_section = re.match(r'Parser key "([\w.]+)": Unable to load config [\'"](.*?)[\'"]', message)
    if no_section:
        key, value = no_section.groups()
        return f"--{key}: got {value!r}, expected a mapping of settings, or its settings one by one: --{key}.NAME VALUE"
    unknown = re.search(r"unrecognized arguments: (\S+)", message)
    if unknown:
        known = [o for action in parser._actions for o in action.option_strings]
        word = unknown[1].split("=")[0]
        close = [o for o in known if o.endswith(f".{word.lstrip('-')}")] or difflib.get_close_matches(word, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"see {parser.prog} --help"
        return f"unknown option {unknown[1]}; {hint}"
    return f"{message}; see {parser.prog} --help"


def _line(tree: Any, key: str) -> int:
    """The line, from 1, where the dotted key stands in the YAML tree, or where its nearest known parent does."""
    line = 1
    for part in key.split("."):
        if tree is not None and tree.id == "sequence":
            tree = next((n for n in tree.value if any(k.value == part for k, _ in n.value)), None)
        for name, child in getattr(tree, "value", ()):
            if name.value == part:
                line, tree = name.start_mark.line + 1, child
                break
    return line
