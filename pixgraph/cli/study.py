"""``pixgraph study``: which settings of graph construction matter, and which to take."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pixgraph.cli.options import parse
from pixgraph.errors import ConfigError
from pixgraph.study.options import StudyOptions, check_options

ACTIONS = {
    "run": "run a study or go on with it",
    "confirm": "score the recommended settings on fresh episodes",
    "report": "write the page of a study again",
    "space": "print the package's factors, to start an own file from",
}


def run(argv: Sequence[str]) -> int:
    """Run the study, confirm what it recommends, write its report again, or print the space."""
    argv = list(argv)
    action = argv.pop(0) if argv and not argv[0].startswith("-") else "run"
    if action not in ACTIONS:
        raise ConfigError(f"study: got {action!r}, expected one of {', '.join(ACTIONS)}; see pixgraph study --help")
    if action == "space":
        from pixgraph.study.space import default_space

        print(default_space(), end="")
        return 0
    options = check_options(parse(StudyOptions, "study", argv))
    from pixgraph.study.run import report_study, run_study

    if action == "confirm":
        from pixgraph.study.confirm import confirm

        confirm(options, partial(print, flush=True))
    elif action == "report":
        report_study(options.out, options.storage)
        print(f"report: {options.out}/index.html")
    else:
        run_study(options, partial(print, flush=True))
    return 0
