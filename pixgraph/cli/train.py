"""``pixgraph train``: train the GNN on episodes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pixgraph.cli.options import option_value, parse, run_settings, with_alias
from pixgraph.config import Config
from pixgraph.errors import ConfigError

RESUME = {
    "nargs": "?",
    "metavar": "RUN",
    "help": "Go on with a run: a run folder, or nothing to take the one that --runs and --run name.",
}
NAME = {"metavar": "RUN", "help": "The same as --run, which torchrun takes for an option of its own."}


def run(argv: Sequence[str]) -> int:
    """Train as the arguments say and print where the run lies; see `pixgraph.cli.main.main` for the exit code."""
    config, resume = parse_train(argv)
    from pixgraph.training.loop import train

    folder = train(config, resume)
    if os.environ.get("RANK", "0") == "0":  # one of torchrun's processes speaks for all
        print(f"run folder: {folder.path}")
    return 0


def parse_train(argv: Sequence[str]) -> tuple[Config, bool]:
    """The configuration of a training, and whether it goes on with an existing run.

    A resumed run starts from its own settings; other arguments may repeat them, and training refuses those that differ.

    Raises:
        ConfigError: An argument is wrong, or nothing says which run to resume.
        RunError: The run to resume does not exist.
    """
    argv = with_alias(argv, "--name", "--run")
    more = {"--resume": RESUME, "--name": NAME}
    value = option_value(argv, "--resume")
    if value is None:
        return parse(Config, "train", argv, more=more), False
    if value:
        folder = Path(value)
    else:
        name = option_value(argv, "--run")
        if not name:
            raise ConfigError("--resume: nothing says which run; expected --resume RUN_FOLDER, or --run NAME beside it")
        folder = Path(option_value(argv, "--runs") or "runs") / name
    base = {**run_settings(folder, Config), "runs": str(folder.parent), "run": folder.name}
    return parse(Config, "train", argv, base, more), True
