"""What every benchmark shares: where and how it was measured, and the JSON and Markdown files that keep it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixgraph.errors import PixgraphError
from pixgraph.training.atomic import write_atomic, write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DATA_VARIABLE = "PIXGRAPH_DATA"
MORE = "<!-- more -->"
"""In a result file: what follows is left out of the README."""

PACKAGES = ("pixgraph", "torch", "torchvision", "dgl", "faiss-cpu", "numpy")


def machine() -> dict[str, Any]:
    """CPU model, cores, threads, memory, load and versions; imports none of the packages that it names."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "memory_gb": _memory_gb(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def command(argv: Sequence[str] | None = None, data: str | None = None) -> str:
    """The command line that repeats this measurement, with the folder of the data as ``$PIXGRAPH_DATA``."""
    words = [str(word) for word in (sys.argv if argv is None else argv)]
    words[0] = os.path.relpath(words[0], ROOT) if Path(words[0]).exists() else words[0]
    folders = [str(Path(folder)) for folder in (data, os.environ.get(DATA_VARIABLE)) if folder]
    text = " ".join(["python", *(_shown(word, folders) for word in words)])
    threads = os.environ.get("OMP_NUM_THREADS")
    return f"OMP_NUM_THREADS={threads} {text}" if threads else text


def provenance(data: str | None = None) -> dict[str, Any]:
    """Date, command and machine: the first entries of every result."""
    return {"date": time.strftime("%Y-%m-%d %H:%M"), "command": command(data=data), "machine": machine()}


def write_result(name: str, result: dict[str, Any], body: str, folder: str | Path = RESULTS) -> Path:
    """Write ``NAME.json`` and, from the same numbers, ``NAME.md``; each appears whole or not at all.

    Args:
        name: Name of the files.
        result: JSON values, starting with those of `provenance`.
        body: Markdown below the heading: tables and notes.
        folder: Where to.

    Returns:
        The Markdown file.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / f"{name}.json", result)
    text = f"# {name}\n\n{_heading(result)}\n\n{body.strip()}\n"
    write_atomic(target / f"{name}.md", text.encode())
    return target / f"{name}.md"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table whose first column is text and whose others are numbers.

    Example:
        >>> print(table(["what", "ms"], [["graph", 3]]))
        | what | ms |
        | :-- | --: |
        | graph | 3 |
    """
    lines = [header, [":--"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def percent(mean: float | None, deviation: float | None = None, sign: bool = False) -> str:
    """A fraction in percent with two decimals, and its deviation where there is one.

    Example:
        >>> percent(0.5, 0.0123), percent(-0.01, sign=True), percent(None)
        ('50.00 ± 1.23', '-1.00', '-')
    """
    if mean is None:
        return "-"
    text = f"{100 * mean:{'+' if sign else ''}.2f}"
    return text if deviation is None else f"{text} ± {100 * deviation:.2f}"


def mean_and_deviation(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation (n - 1) of the values that are defined; `None` for what they do not give."""
    known = [v for v in values if v is not None]
    mean = statistics.fmean(known) if known else None
    return mean, statistics.stdev(known) if len(known) > 1 else None


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and minimum of times, in milliseconds."""
    ordered = sorted(seconds)
    low, middle, high = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    values = {"median_ms": middle, "q25_ms": low, "q75_ms": high, "min_ms": ordered[0]}
    return {key: round(1000 * value, 3) for key, value in values.items()} | {"rounds": len(ordered)}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Median and quartiles of the ratios, round by round."""
    values = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": round(middle, 3), "q25": round(low, 3), "q75": round(high, 3)}


def milliseconds(found: dict[str, float]) -> str:
    """A `spread` as a cell of a table: median and, in brackets, the quartiles."""
    return f"{found['median_ms']:.1f} ({found['q25_ms']:.1f}-{found['q75_ms']:.1f})"


def script_parser(text: str | None) -> argparse.ArgumentParser:
    """A parser whose description is a script's docstring, with its lines."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def measured_in_child(words: Sequence[str], what: str, env: Mapping[str, str] | None = None) -> Any:
    """The JSON value that a Python program prints as its last line: a process of its own has a peak memory of its own.

    Args:
        words: Script and arguments.
        what: What it measures, for the error.
        env: Its environment; none: this one.

    Raises:
        PixgraphError: The program failed; the message has its last line.
    """
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise PixgraphError(f"measuring {what} failed: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    return json.loads(done.stdout.splitlines()[-1])


def _heading(result: dict[str, Any]) -> str:
    where, packages = result["machine"], result["machine"]["packages"]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    threads = f", OMP_NUM_THREADS={where['omp_num_threads']}" if where["omp_num_threads"] else ""
    return (
        f"{result['date']}; {where['cpu']}, {where['usable_cores']} of {where['cores']} cores{threads}, load "
        f"{where['load_average']} when written; Python {where['python']}, {versions}.\n\n    {result['command']}"
    )


def _shown(word: str, folders: Sequence[str]) -> str:
    """A word of the command line, quoted; the folder of the data by the name of its variable."""
    for folder in folders:
        if word == folder or word.startswith(folder.rstrip("/") + "/"):
            rest = word[len(folder.rstrip("/")) :]
            return f"${DATA_VARIABLE}" + (shlex.quote(rest) if rest else "")
    inside = str(ROOT) + os.sep
    return shlex.quote(word.removeprefix(inside))


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
