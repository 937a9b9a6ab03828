"""How `speed_pretrain` measures: alternating rounds in one process, and peak memory in a process of its own a step."""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pretrain_steps import Step, build_step
from recording import measured_in_child

from pixgraph.errors import PixgraphError

MEMORY_SHARE = 0.85
"""Share of the free memory that a step may take before it counts as impossible."""


def time_steps(specs: Sequence[dict[str, Any]], rounds: int, warm_up: int = 1) -> dict[str, Any]:
    """Seconds of each step, in rounds that take each in turn.

    Args:
        specs: What `build_step` takes.
        rounds: How many are counted.
        warm_up: How many come before.

    Returns:
        By name: the list ``seconds``, or ``skipped``, a reason.
    """
    found: dict[str, Any] = {}
    steps: dict[str, Step] = {}
    for spec in specs:
        built = _built(spec)
        found[spec["name"]] = {"skipped": built} if isinstance(built, str) else {"seconds": []}
        if not isinstance(built, str):
            steps[spec["name"]] = built
    for turn in range(-warm_up, rounds):
        for name, step in steps.items():
            seconds = _seconds(step)
            if turn >= 0:
                found[name]["seconds"].append(seconds)
    return found


def memory_of(specs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Peak memory of steps in a new process, one after the other, of growing size.

    Args:
        specs: What `build_step` takes.

    Returns:
        For each ``peak_mb`` and ``seconds``, or ``skipped``, a reason.
    """
    try:
        return measured_in_child([__file__, json.dumps(specs)], specs[0]["name"])
    except PixgraphError as error:
        return [{"skipped": _reason(str(error))}] * len(specs)


def peak_growth(step: Callable[[], object], device: str) -> tuple[float | None, float]:
    """What a second step costs; the first one pays for the optimiser's state, thread pools and workspaces.

    Returns:
        Mebibytes by which it raises the peak of the process, `None` if the system does not tell; and its seconds.
    """
    step()
    gc.collect()
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        seconds = _seconds(step)
        return (torch.cuda.max_memory_allocated() - held) / 2**20, seconds
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        return None, _seconds(step)
    ctypes.CDLL(None).malloc_trim(0)  # otherwise what the first step freed would serve the second one
    clear.write_text("5")  # the peak starts again from the present size
    before = _kilobytes("/proc/self/status", "VmRSS")
    seconds = _seconds(step)
    return (_kilobytes("/proc/self/status", "VmHWM") - before) / 1024, seconds


def available_mb() -> float:
    """Free memory in mebibytes; infinite where the system does not say."""
    return _kilobytes("/proc/meminfo", "MemAvailable") / 1024 if Path("/proc/meminfo").exists() else float("inf")


def _kilobytes(file: str, key: str) -> int:
    return next(int(line.split()[1]) for line in Path(file).read_text().splitlines() if line.startswith(f"{key}:"))


def _built(spec: dict[str, Any]) -> Step | str:
    """The step, or why there is none."""
    try:
        return build_step(spec)
    except PixgraphError as error:
        return str(error)


def _seconds(step: Callable[[], object]) -> float:
    _wait()
    begin = time.perf_counter()
    step()
    _wait()
    return time.perf_counter() - begin


def _wait() -> None:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _reason(error: str) -> str:
    lowered = error.lower()
    if any(word in lowered for word in ("allocate memory", "out of memory", "bad_alloc", "memoryerror")):
        return "needs more memory than there is"
    return error.splitlines()[0][:200]


def _child(text: str) -> None:
    specs = json.loads(text)
    if available_mb() != float("inf") and specs[0]["case"].get("device", "cpu") == "cpu":
        # The step shall fail, not the machine.
        limit = int(MEMORY_SHARE * available_mb() * 2**20)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    print(json.dumps([_measured(spec) for spec in specs]))


def _measured(spec: dict[str, Any]) -> dict[str, Any]:
    try:
        peak, seconds = peak_growth(build_step(spec), spec["case"].get("device", "cpu"))
        return {"peak_mb": None if peak is None else round(peak, 1), "seconds": round(seconds, 4)}
    except (PixgraphError, RuntimeError, MemoryError) as error:
        return {"skipped": _reason(f"{type(error).__name__}: {error}")}


if __name__ == "__main__":
    _child(sys.argv[1])
