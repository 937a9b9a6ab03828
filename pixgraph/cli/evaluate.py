"""``pixgraph evaluate``: scores on classes that were never trained on, beside the trivial baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pixgraph.cli.options import option_value, parse, run_settings, with_alias
from pixgraph.errors import ConfigError
from pixgraph.run_scores import EvaluateOptions, check_place, keep, score

CHECKPOINT = {"metavar": "RUN", "help": "The same as --run, which torchrun takes for an option of its own."}


def run(argv: Sequence[str]) -> int:
    """Score, print the table, and keep the scores in the run's folder."""
    options = parse_evaluate(argv)
    from pixgraph.evaluation.table import result_table
    from pixgraph.training.distributed import ProcessGroup

    with ProcessGroup() as world:
        if world.is_main:
            check_place(options)
        scored = score(options)
    if world.is_main:
        print(result_table(scored.evaluation))
        folder = keep(options, scored)
        print(f"run folder: {folder}")
    return 0


def parse_evaluate(argv: Sequence[str]) -> EvaluateOptions:
    """The checked options; the settings of a run that is scored are the defaults.

    Raises:
        ConfigError: An argument is wrong, or there is neither or both of a run and a method.
        RunError: The run does not exist.
    """
    argv = with_alias(argv, "--checkpoint", "--run")
    base: dict[str, Any] = {}
    trained = option_value(argv, "--run")
    if trained:
        base = run_settings(Path(trained), EvaluateOptions)
    options = parse(EvaluateOptions, "evaluate", argv, base, {"--checkpoint": CHECKPOINT})
    if bool(options.run) == bool(options.method):
        raise ConfigError("expected either --run RUN_FOLDER or --method NAME (propagate, prototype, knn, linear)")
    return options
