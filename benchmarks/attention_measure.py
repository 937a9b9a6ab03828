"""How `speed_attention` measures: alternating rounds in one process, and peak memory in one process a layer."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attention_peers import COMPILED, METHODS, OPERATORS, AbsentError, Method, Run
from attention_problem import Problem

from pixgraph.errors import PixgraphError

FAILURES = (RuntimeError, MemoryError, ImportError)
"""What a library may raise on a size, a device or a compiler that it cannot use."""

MEMORY_SHARE = 0.7
"""Share of the free memory that a layer may be predicted to need."""

ALL = METHODS | COMPILED | OPERATORS


def time_layers(
    problem: Problem, methods: Mapping[str, Method], rounds: int, skip: Mapping[str, str]
) -> dict[str, Any]:
    """Seconds of each method, forward and forward with backward, in rounds that take each in turn.

    Args:
        problem: Graph and features.
        methods: Layers by name.
        rounds: How many are counted; one more comes first.
        skip: Names that are not measured, and why.

    Returns:
        By name: either ``skipped``, a reason; or ``prepare_ms``, ``first_ms`` (includes compiling) and the lists
        ``forward`` and ``both``, seconds a round.
    """
    found: dict[str, Any] = {name: {"skipped": skip[name]} for name in methods if name in skip}
    runs: dict[str, Run] = {}
    torch.manual_seed(0)
    _ = problem.graph, problem.feature, problem.states
    for name, method in methods.items():
        if name not in skip:
            try:
                method.build(Problem(side=16, device=problem.device))  # imports what it needs
                begin = time.perf_counter()
                runs[name] = method.build(problem)
                prepared = time.perf_counter()
                _both(runs[name], problem)
            except (AbsentError, *FAILURES) as error:
                found[name] = {"skipped": _reason(error)}
                runs.pop(name, None)
                continue
            first = time.perf_counter() - prepared
            found[name] = {"prepare_ms": _ms(prepared - begin), "first_ms": _ms(first), "forward": [], "both": []}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name]["forward"].append(_forward(run, problem))
            found[name]["both"].append(_both(run, problem))
    return {name: found[name] for name in methods}


def _forward(run: Run, problem: Problem) -> float:
    _wait(problem)
    begin = time.perf_counter()
    with torch.no_grad():
        run(problem.states)
    _wait(problem)
    return time.perf_counter() - begin


def _both(run: Run, problem: Problem) -> float:
    """Seconds of a forward and backward pass with gradients of the nodes' features and of all weights."""
    x = problem.states.detach().requires_grad_()
    x.grad = None
    _wait(problem)
    begin = time.perf_counter()
    out = run(x)
    out.backward(torch.ones_like(out))
    _wait(problem)
    return time.perf_counter() - begin


def _wait(problem: Problem) -> None:
    if problem.device != "cpu":
        torch.cuda.synchronize()


def memory_of(name: str, problems: list[Problem], timeout: float) -> list[dict[str, Any]]:
    """Peak memory of a method on several problems in a new process: `peak_growth` of each, or ``skipped``.

    Args:
        name: Key of `ALL`.
        problems: Of growing size.
        timeout: Seconds after which the rest is given up.
    """
    words = [f"{p.side},{p.dilations},{p.channels},{p.heads},{p.device}" for p in problems]
    command = [sys.executable, str(Path(__file__)), name, *words]
    lines: list[str] = []
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
        lines, reason = done.stdout.splitlines(), (done.stderr.strip().splitlines() or ["no word"])[-1]
    except subprocess.TimeoutExpired as error:
        lines, reason = (error.stdout or b"").decode().splitlines(), f"took more than {timeout:.0f} s"
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return found + [{"skipped": reason}] * (len(problems) - len(found))


def peak_growth(run: Run, problem: Problem) -> float | None:
    """Mebibytes by which a second forward and backward pass raises the peak of the process; `None` if it cannot tell.

    The first pass pays for what comes once: compiling, thread pools, workspaces.
    """
    _both(run, problem)
    gc.collect()
    if problem.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        _both(run, problem)
        return (torch.cuda.max_memory_allocated() - held) / 2**20
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)  # otherwise what the first pass freed would serve the second one
    clear.write_text("5")  # the peak starts again from the present size
    before = _status("VmRSS")
    _both(run, problem)
    return _status("VmHWM") - before


def available_mb() -> float:
    """Free memory in mebibytes; infinite where the system does not say."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return float("inf")
    return next(int(line.split()[1]) / 1024 for line in info.read_text().splitlines() if line.startswith("MemAvail"))


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key + ":"))


def _reason(error: BaseException) -> str:
    return (
        f"{type(error).__name__}: {error}".splitlines()[0][:160] if not isinstance(error, AbsentError) else str(error)
    )


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


def main() -> int:
    """The child process: the name of a method and problems as ``side,dilations,channels,heads,device``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("method", choices=sorted(ALL))
    parser.add_argument("problem", nargs="+")
    args = parser.parse_args()
    for word in args.problem:
        *sizes, device = word.split(",")
        side, dilations, channels, heads = (int(size) for size in sizes)
        problem = Problem(side, dilations, channels, heads, device)
        try:
            print(json.dumps({"peak_mb": peak_growth(ALL[args.method].build(problem), problem)}), flush=True)
        except PixgraphError as error:
            print(json.dumps({"skipped": str(error)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
