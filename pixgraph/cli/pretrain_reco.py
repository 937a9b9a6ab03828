"""``pixgraph pretrain reco``: train a network to segment from a few labels."""

from __future__ import annotations

from collections.abc import Sequence

from pixgraph.cli.options import NAME, RESUME, parse, resumed_settings, with_alias
from pixgraph.cli.pretrain import tell_run
from pixgraph.pretrain.reco.config import ALIASES, RecoConfig, check_reco


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
    for alias, name in ALIASES.items():
        argv = with_alias(argv, alias, name)
    base = resumed_settings(argv, RecoConfig)
    more = {alias: {"metavar": "", "help": f"The same as {name}."} for alias, name in ALIASES.items()}
    more |= {"--resume": RESUME, "--name": NAME}
    config = parse(RecoConfig, "pretrain reco", argv, base, more)
    return check_reco(config), base is not None
