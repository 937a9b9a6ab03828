"""A study without pictures: two factors, an objective that is arithmetic, and a worker to be killed."""

import functools
import sys
import time
from pathlib import Path

from pixgraph.config import Config
from pixgraph.data.synthetic import SyntheticShapes
from pixgraph.errors import DataError
from pixgraph.study.driver import Outcome, Work, run_trials
from pixgraph.study.plan import make_plan
from pixgraph.study.space import load_space
from pixgraph.study.storage import open_storage, storage_url

SPACE = """
- {key: graph.num_fg, choices: [16, 64, 256]}
- {key: graph.sampling, choices: [uniform, boundary]}
"""
BLOCKS = ("a, seed 0", "a, seed 1", "b, seed 0", "b, seed 1")


@functools.cache  # counting the classes of generated pictures draws them all
def generated(split):
    return SyntheticShapes(split, size=64, n_pictures=72)


def factors(folder, text=SPACE):
    path = Path(folder) / "space.yaml"
    path.write_text(text)
    return load_space(path, Config())


def work(folder, sampler="grid", trials=None, **more):
    found = factors(folder)
    return Work("toy", found, make_plan(found, sampler, trials, 0), '{"x": 1}', sampler, **more)


def storage(folder):
    return open_storage(storage_url(Path(folder), None), heartbeat=1, grace=2)


def objective(settings, report):
    """More foreground nodes are better and slower; the boundary is 0.1 worse, with some noise between blocks."""
    fg, boundary = settings.get("graph.num_fg", 64), settings.get("graph.sampling") == "boundary"
    if fg == 16 and boundary:
        raise DataError("impossible")
    mious = [0.4 + fg / 1000 - 0.1 * boundary + 0.01 * i * (fg == 256) for i in range(len(BLOCKS))]
    for name, miou in zip(BLOCKS, mious, strict=True):
        report(name, miou, float(fg), 2.0)
    return Outcome(sum(mious) / len(mious), float(fg), 2.0, {"reference_ms": 10.0})


def slow(settings, report):
    """Says that it began, and takes its time."""
    print("begun", flush=True)
    time.sleep(60)
    return objective(settings, report)


if __name__ == "__main__":
    run_trials(work(sys.argv[1]), storage(sys.argv[1]), slow)
