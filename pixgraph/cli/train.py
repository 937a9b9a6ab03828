"""``pixgraph train``: train the GNN on episodes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pixgraph.cli.options import NAME, RESUME, parse, resumed_settings, with_alias
from pixgraph.config import Config


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

    Raises:
        ConfigError: An argument is wrong, or nothing says which run to resume.
        RunError: The run to resume does not exist.
    """
    argv = with_alias(argv, "--name", "--run")
    base = resumed_settings(argv, Config)
    return parse(Config, "train", argv, base, {"--resume": RESUME, "--name": NAME}), base is not None
