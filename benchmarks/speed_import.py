"""Wall time of starting pixgraph, each in a new process, against a bare Python and `import torch`.

python benchmarks/speed_import.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from recording import milliseconds, provenance, script_parser, spread, table, write_result
from workbench import add_output_arguments, guarded

from pixgraph.errors import PixgraphError

STARTS = {
    "python alone": ["-c", "pass"],
    "import pixgraph": ["-c", "import pixgraph"],
    "pixgraph --help": ["-m", "pixgraph", "--help"],
    "pixgraph --version": ["-m", "pixgraph", "--version"],
    "pixgraph data list": ["-m", "pixgraph", "data", "list"],
    "import torch": ["-c", "import torch"],
}
"""What is measured: its name and the arguments of Python."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the table."""
    args = parser().parse_args(argv)
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for i in range(args.rounds + 1):
        for name, words in STARTS.items():  # one of each in turn, so that a busy moment meets all alike
            seconds = start(words)
            if i:  # the first round fills the file cache
                times[name].append(seconds)
    found = {name: spread(seconds) for name, seconds in times.items()}
    base = found["python alone"]["median_ms"]
    rows = [
        (name, milliseconds(one), f"{one['min_ms']:.0f}", f"{one['median_ms'] - base:.0f}")
        for name, one in found.items()
    ]
    body = (
        f"Wall time in ms, median (quartiles) of {args.rounds} new processes, files in the system's cache.\n\n"
        + table(["start", "ms", "fastest", "beyond python alone"], rows)
    )
    print(write_result(args.name or "speed_import", {**provenance(), "starts": found}, body, args.out))
    return 0


def parser() -> argparse.ArgumentParser:
    """The script's arguments."""
    made = script_parser(__doc__)
    made.add_argument("--rounds", type=int, default=10, help="new processes of each kind (default: %(default)s)")
    add_output_arguments(made)
    return made


def start(words: Sequence[str]) -> float:
    """Seconds from start to end of a Python process.

    Raises:
        PixgraphError: It failed.
    """
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise PixgraphError(f"python {' '.join(words)} failed: {' '.join(last)}; install pixgraph into this Python")
    return seconds


if __name__ == "__main__":
    sys.exit(guarded(main))
