"""``pixgraph pretrain spml``: embeddings from points, scribbles, boxes, tags or masks."""

from __future__ import annotations

from collections.abc import Sequence

from pixgraph.cli.options import NAME, RESUME, parse, resumed_settings, with_alias
from pixgraph.cli.pretrain import tell_run
from pixgraph.pretrain.spml.config import SPMLConfig, check_spml


def run(argv: Sequence[str]) -> int:
    """Train as the arguments say and print where the run lies."""
    config, resume = parse_spml(argv)
    from pixgraph.pretrain.spml.run import pretrain_spml

    tell_run(pretrain_spml(config, resume).path)
    return 0


def parse_spml(argv: Sequence[str]) -> tuple[SPMLConfig, bool]:
    """The configuration of a training by SPML, and whether it goes on with an existing run.

    Raises:
        ConfigError: An argument is wrong, or nothing says which run to resume.
        RunError: The run to resume does not exist.
    """
    argv = with_alias(argv, "--name", "--run")
    base = resumed_settings(argv, SPMLConfig)
    config = parse(SPMLConfig, "pretrain spml", argv, base, {"--resume": RESUME, "--name": NAME})
    return check_spml(config), base is not None
