"""How `speed_knn` measures: alternating rounds, recall by true distances, and peak memory in a process of its own."""

from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from knn_data import Case, data
from knn_peers import METHODS, Method

from pixgraph.errors import PixgraphError

Clock = Callable[[], float]

CLOSE = 2.5
"""A search that took longer than the fastest exact one times this is timed once only."""

CHEAP = 0.05
"""Seconds below which it is timed in every round all the same."""

ROUNDS = (3, 11)
"""Fewest and most rounds."""

SAMPLE = 200
"""Queries on which the recall is measured."""


def measure(
    case: Case,
    methods: Mapping[str, Method],
    history: dict[str, list[tuple[Case, float]]],
    limit: float,
    budget: float,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """All searches at one point.

    Args:
        case: What is asked.
        methods: By name; "pixgraph" is never left out.
        history: For each name the cases before this one and their seconds, smaller ones first; gains this one.
        limit: Seconds beyond which a search is left out, as predicted from its history.
        budget: Seconds for all rounds after the first.
        clock: What tells the time.

    Returns:
        The case's entries, and ``found``: by name either ``skipped``, a reason, or ``seconds``, one a round, and
        ``recall``.
    """
    x, rows = data(case)
    far, sample = true_distances(x, rows, case)
    found: dict[str, Any] = {}
    first: dict[str, float] = {}
    reasons = left_out(case, methods, history, limit)
    for name, method in methods.items():
        if name in reasons:
            found[name] = {"skipped": reasons[name]}
            continue
        first[name], index = _timed(method, x, rows, case, clock)
        history.setdefault(name, []).append((case, first[name]))
        found[name] = {"seconds": [], "recall": recall(x, rows[sample], index[sample], far, case)}
    best = min(seconds for name, seconds in first.items() if methods[name].exact)
    close = [name for name, seconds in first.items() if name == "pixgraph" or seconds < max(CHEAP, CLOSE * best)]
    once = sum(first[name] for name in close)
    for _ in range(max(ROUNDS[0], min(ROUNDS[1], int(budget / once)))):
        for name in close:
            found[name]["seconds"].append(_timed(methods[name], x, rows, case, clock)[0])
    for name, seconds in first.items():
        found[name]["seconds"] = found[name]["seconds"] or [seconds]
    return {**asdict(case), "found": found}


def left_out(
    case: Case, methods: Mapping[str, Method], history: Mapping[str, Sequence[tuple[Case, float]]], limit: float
) -> dict[str, str]:
    """Searches that are not measured, and why; pixgraph and the fastest other exact search always are."""
    reasons = {name: reason for name, method in methods.items() if (reason := method.refuses(case)) is not None}
    seconds = {name: predict(history.get(name, []), case) for name in methods if name not in reasons}
    others = [name for name in seconds if methods[name].exact and name != "pixgraph"]
    kept = {"pixgraph", min(others, key=seconds.__getitem__)}
    slow = {name: s for name, s in seconds.items() if s > limit and name not in kept}
    return reasons | {name: f"too slow: {s:.0f} s predicted" for name, s in slow.items()}


def predict(history: Sequence[tuple[Case, float]], case: Case) -> float:
    """Seconds expected from smaller cases: a power of the pairs of point and query, its exponent from the last two.

    A search without a history is expected to take no time: the smallest case is always tried.
    """
    if not history:
        return 0.0
    (last, seconds) = history[-1]
    exponent = 1.0
    if len(history) > 1:
        before, earlier = history[-2]
        exponent = math.log(seconds / earlier) / math.log(_pairs(last) / _pairs(before)) if _grown(before, last) else 1
        exponent = min(1.1, max(0.5, exponent))
    return seconds * (_pairs(case) / _pairs(last)) ** exponent


def true_distances(x: np.ndarray, rows: np.ndarray, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Distance of the true k-th neighbour of some queries, (s,), in double precision, and which queries, (s,)."""
    sample = np.random.default_rng(0).choice(len(rows), min(SAMPLE, len(rows)), replace=False)
    kth = np.empty(len(sample))
    for i, row in enumerate(rows[sample]):
        far = np.square(x - x[row], dtype=np.float64).sum(1)
        if case.whole:
            far[row] = np.inf
        kth[i] = np.sqrt(np.partition(far, case.k - 1)[case.k - 1])
    return kth, sample


def recall(x: np.ndarray, rows: np.ndarray, index: np.ndarray, kth: np.ndarray, case: Case) -> float:
    """Share of the k neighbours that were found; any point as near as the true k-th one, but for rounding, counts.

    Args:
        x: Points (n, d).
        rows: The points that asked, (s,).
        index: What was found, (s, c); -1 and the point itself do not count where all points ask.
        kth: Distance of the true k-th neighbour, (s,).
        case: What was asked.
    """
    hits = 0
    for row, found, limit in zip(rows, index, kth, strict=True):
        others = np.unique(found[(found >= 0) & ~((found == row) & case.whole)])
        far = np.sqrt(np.square(x[others] - x[row], dtype=np.float64).sum(1))
        hits += min(case.k, int((far <= limit * (1 + 1e-5) + 1e-6).sum()))
    return hits / (case.k * len(rows))


def memory(cases: Sequence[tuple[Case, Sequence[str]]], timeout: float) -> list[dict[str, Any]]:
    """Peak resident memory of searches above what was there before, in MB, one new process a case.

    Args:
        cases: Cases, and the names of the searches.
        timeout: Seconds for each case.

    Returns:
        For each case its entries, and ``peak_mb`` by name; none where the system does not tell.

    Raises:
        PixgraphError: A process failed.
    """
    if not Path("/proc/self/clear_refs").exists():
        return []
    # Large blocks go back to the system at once: what an earlier search left would otherwise be used again unseen.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    rows = []
    for case, names in cases:
        words = [sys.executable, __file__, json.dumps([asdict(case), list(names)])]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=env, timeout=timeout)
        if done.returncode:
            raise PixgraphError(f"measuring memory failed: {' '.join(done.stderr.strip().splitlines()[-1:])}")
        rows.append({**asdict(case), "peak_mb": json.loads(done.stdout.splitlines()[-1])})
    return rows


def _peaks(case: Case, names: Sequence[str]) -> dict[str, float]:
    """Peak memory of each search in this process, in MB, after a small search that loads what it needs."""
    small = Case(case.kind, case.d, 1000, 1000 if case.whole else 200, case.k)
    peaks = {}
    x, rows = data(case)
    for name in names:
        METHODS[name].run(*data(small), small)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        kept = METHODS[name].run(x, rows, case)
        peaks[name] = round((_status("VmHWM") - before) / 1000, 1)
        del kept
    return peaks


def _status(key: str) -> int:
    """An entry of the process's status, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def _timed(method: Method, x: np.ndarray, rows: np.ndarray, case: Case, clock: Clock) -> tuple[float, np.ndarray]:
    threads = torch.get_num_threads()
    begin = clock()
    index = method.run(x, rows, case)
    seconds = clock() - begin
    torch.set_num_threads(threads)  # PyNNDescent changes it for the whole process
    return seconds, index


def _pairs(case: Case) -> float:
    return float(case.n) * case.queries


def _grown(before: Case, last: Case) -> bool:
    return _pairs(last) > 1.5 * _pairs(before)


if __name__ == "__main__":
    wanted, chosen = json.loads(sys.argv[1])
    print(json.dumps(_peaks(Case(**wanted), chosen)))
