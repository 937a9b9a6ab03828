"""Peak memory of building a graph, in a process of its own.

The kernel keeps the largest resident size of a process (`VmHWM`) and forgets it on request (`/proc/self/clear_refs`),
so one process can measure many builds. The C library is told to give every large block back at once
(`MALLOC_MMAP_THRESHOLD_`): memory that an earlier build left behind would otherwise be used again unseen. Everything
that is there once and for all, such as libraries and threads, is warmed up by a small build before.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from graph_cases import Case, Scene, pixgraph_builder
from graph_peers import numpy_dgl_builder, pyg_builder
from recording import measured_in_child

from pixgraph.errors import PixgraphError
from pixgraph.graph.backend import incoming, outgoing
from pixgraph.graph.checks import estimate_bytes

BUILDERS = {"pixgraph": pixgraph_builder, "NumPy + DGL": numpy_dgl_builder, "PyG": pyg_builder}
MB = 1e6


def measure_apart(wanted: Sequence[tuple[str, Case]]) -> list[dict[str, Any]]:
    """`measure` of builders, by name, and cases, in a new process.

    Raises:
        PixgraphError: It failed.
    """
    if not Path("/proc/self/clear_refs").exists():
        return []
    words = [__file__, json.dumps([(name, asdict(case)) for name, case in wanted])]
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    return measured_in_child(words, "memory", env)


def measure(name: str, case: Case) -> dict[str, Any]:
    """Memory of one build, in MB.

    Returns:
        ``returned``: the arrays of the graph; ``peak``: what was resident at most, above what was before; ``ratio`` of
        the two; and for pixgraph ``sorted``, the peak of sorting the edges both ways, as message passing does, and
        ``estimate`` of all that, beforehand.
    """
    scene = Scene(case)
    query, build = scene.pictures[0], BUILDERS[name](scene)
    gc.collect()
    graph, peak = _peak(lambda: build(query))
    held = _bytes(graph)
    found = {"returned": held / MB, "peak": peak / MB, "ratio": peak / held}
    if name == "pixgraph":
        _, more = _peak(lambda: (incoming(graph), outgoing(graph)))
        found |= {
            "sorted": more / MB,
            "estimate": estimate_bytes(len(scene.part.label), case.side**2, case.config) / MB,
        }
    return {"builder": name, "case": asdict(case), **{key: round(value, 3) for key, value in found.items()}}


def _peak(work: Any) -> tuple[Any, int]:
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    done = work()
    return done, _status("VmHWM") - before


def _status(key: str) -> int:
    """A line of the process's status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise PixgraphError(f"/proc/self/status: got no {key}, expected one; measure memory under Linux")


def _bytes(graph: Any) -> int:
    """Size of all tensors that a graph returns."""
    if hasattr(graph, "edge_index"):
        tensors = list(graph.to_dict().values())
    else:
        tensors = [*dict(graph.ndata).values(), *dict(graph.edata).values(), *graph.edges()]
    return sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor))


def _child() -> None:
    wanted = [(name, Case(**{**case, "dilations": tuple(case["dilations"])})) for name, case in json.loads(sys.argv[1])]
    for name in dict.fromkeys(name for name, _ in wanted):
        measure(name, Case(64, drawn=2, nearest=0 if name == "PyG" else 2, shots=2))
    print(json.dumps([measure(name, case) for name, case in wanted]))


if __name__ == "__main__":
    _child()
