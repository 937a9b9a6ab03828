"""``pixgraph probe``: what a frozen embedding is worth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pixgraph.cli.options import parse
from pixgraph.errors import ConfigError
from pixgraph.probe.config import ACTIONS, ProbeConfig, check_probe


def run(argv: Sequence[str]) -> int:
    """Run a probe, print what it found in a line, and write the page."""
    argv = list(argv)
    action = argv.pop(0) if argv and not argv[0].startswith("-") else ""
    if action not in ACTIONS and "--help" not in argv and "-h" not in argv:
        raise ConfigError(
            f"probe: got {action or 'nothing'!r}, expected one of {', '.join(ACTIONS)}; see pixgraph probe --help"
        )
    config = check_probe(parse(ProbeConfig, "probe ACTION", argv))
    from pixgraph.probe.run import run_probe

    print(f"page: {run_probe(config, action, partial(print, flush=True))}")
    return 0
