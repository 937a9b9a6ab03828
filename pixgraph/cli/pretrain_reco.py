"""``pixgraph pretrain reco``: train a network to segment from a few labels."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pixgraph.cli.options import NAME, RESUME, parse, resumed_settings, with_alias
from pixgraph.cli.pretrain import tell_run
from pixgraph.errors import ConfigError
from pixgraph.pretrain.reco.config import ALIASES, RecoConfig, check_reco

_DATA = ("--dataset", "--data-path")
RECONET = "deeplabv3plus:resnet101"
"""What the reproduction calls ``--model reconet``."""


def run(argv: Sequence[str]) -> int:
    """Train as the arguments say and print where the run lies."""
    config, resume = parse_reco(argv)
    from pixgraph.pretrain.reco.run import train_reco

    tell_run(train_reco(config, resume).path)
    return 0


def parse_reco(argv: Sequence[str]) -> tuple[RecoConfig, bool]:
    """The configuration of a training, and whether it goes on with an existing run.

    Raises:
        ConfigError: An argument is wrong, two contradict each other, or nothing says which run to resume.
        RunError: The run to resume does not exist.
    """
    argv = _with_data(argv)
    for alias, name in ALIASES.items():
        argv = with_alias(argv, alias, name)
    base = resumed_settings(argv, RecoConfig)
    more = {alias: {"metavar": "", "help": f"The same as {name}."} for alias, name in ALIASES.items()}
    more |= {"--resume": RESUME, "--name": NAME}
    more |= {name: {"metavar": "", "help": "With the other: --data DATASET:DATA-PATH."} for name in _DATA}
    config = parse(RecoConfig, "pretrain reco", argv, base, more)
    return check_reco(config), base is not None


def _with_data(argv: Sequence[str]) -> list[str]:
    """The arguments with the reproduction's way to name data set and network replaced by ours.

    Raises:
        ConfigError: One of ``--dataset`` and ``--data-path`` is missing.
    """
    scout = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in _DATA:
        scout.add_argument(name, nargs="?", const="", default="")
    found, rest = scout.parse_known_args(list(argv))
    if bool(found.dataset) != bool(found.data_path):
        got = f"--dataset {found.dataset}" if found.dataset else f"--data-path {found.data_path}"
        raise ConfigError(f"data: got {got} alone, expected both --dataset NAME and --data-path FOLDER, or --data")
    words = [
        RECONET if (before, word) == ("--model", "reconet") else word
        for before, word in zip(["", *rest], rest, strict=False)
    ]
    return words + ([f"--data={found.dataset}:{found.data_path}"] if found.dataset else [])
