"""Memory of a trial: what its graphs take, and how far the process grew."""

from __future__ import annotations

from pathlib import Path

from pixgraph.config import GraphConfig
from pixgraph.data.picture import FewShotTask
from pixgraph.graph.checks import estimate_bytes
from pixgraph.graph.picture_nodes import count_nodes
from pixgraph.graph.support import support_part

MB = 1e6


def graph_megabytes(task: FewShotTask, config: GraphConfig, seed: int) -> float:
    """What the task's graph takes at most while it is built and used, in megabytes.

    Nodes are counted, edges and the copies that message passing keeps are computed from the settings
    (`pixgraph.graph.checks.estimate_bytes`): the same number on every machine and in every process.
    """
    around = task.unlabelled if config.unlabelled_knn else []
    cells = sum(count_nodes(picture, config) for picture in (*task.query, *around))
    return estimate_bytes(len(support_part(task.support, config, seed).label), cells, config) / MB


class ResidentPeak:
    """How far the resident memory of this process rose above its level at the start, in megabytes; Linux only.

    A process that has freed memory may use it again without growing, so the number is a lower bound.
    """

    def __init__(self) -> None:
        self._start = None
        clear = Path("/proc/self/clear_refs")
        try:
            clear.write_text("5")  # proc(5): resets the peak to the present size
            self._start = _status("VmRSS")
        except OSError:
            self._start = None

    def megabytes(self) -> float | None:
        """The growth so far; `None` where the system does not tell."""
        peak = None if self._start is None else _status("VmHWM")
        return None if peak is None or self._start is None else max(0.0, (peak - self._start) / MB)


def _status(name: str) -> int | None:
    """Bytes of an entry of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
