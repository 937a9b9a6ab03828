"""``pixgraph demo``: train, evaluate and segment a photograph in a few minutes, offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pixgraph.cli.options import parse


@dataclass
class DemoOptions:
    """Train on generated episodes, score on unseen classes, segment a photograph from a few marks, write a report.

    Attributes:
        out: Folder of the result; an earlier demo there is replaced.
        steps: Training steps; the default takes one to two minutes on two CPU cores.
        episodes: Test episodes a seed.
        seeds: Number of seeds of the test episodes.
        seed: Seed of everything random.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
    """

    out: str = "runs/demo"
    steps: int = 200
    episodes: int = 60
    seeds: int = 2
    seed: int = 0
    device: str = "auto"


def run(argv: Sequence[str]) -> int:
    """Run the demo and say where the report lies."""
    options = parse(DemoOptions, "demo", argv)
    from pathlib import Path

    from pixgraph.demo import demo_config, run_demo

    out = Path(options.out)
    config = demo_config(options.steps, options.seed, options.device, str(out.parent), out.name)
    run_demo(config, options.episodes, options.seeds, say=partial(print, flush=True))
    return 0
