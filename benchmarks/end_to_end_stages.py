"""What `speed_end_to_end.py` measures: the graph methods and the dense correlation on the same pictures, in turn."""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from dense_correlation import DenseCorrelation, hypercorrelation, layers_of, three_levels
from query_stages import WARM_UP, Query, Stopwatch, exclusive, first_queries, resident, watched
from recording import ratio, spread

from pixgraph.data.images import load_image
from pixgraph.evaluation.scoring import resize_labels


class DenseQuery(Query):
    """A query for the dense correlation: the same pictures, backbone and features.

    Args:
        args: Arguments of `speed_query.py`.
        folder: Where the photograph is written.
    """

    def learn(self, args: argparse.Namespace) -> None:
        """An untrained network of the right number of layers; the supports' features are all it keeps of them."""
        levels = [three_levels(p.features) for p in self.support]
        self.known = [(maps, p.label == 1) for maps, p in zip(levels, self.support, strict=True) if p.label is not None]
        self.dense = DenseCorrelation(layers_of(levels[0])).eval().to(self.device)

    @torch.no_grad()
    def whole(self) -> np.ndarray:
        """File to mask."""
        rgb = load_image(self.path)
        query = self.store.from_image(rgb)
        share = self.dense(three_levels(query.features), self.known)
        return resize_labels(torch.stack([1 - share, share]), rgb.shape[:2])

    @torch.no_grad()
    def staged(self, clock: Stopwatch) -> np.ndarray:
        """The same, each stage timed; those of all supports are added up."""
        rgb = clock("decode", lambda: load_image(self.path))
        query = clock("prepare", lambda: self.store.from_image(rgb))
        maps, votes = three_levels(query.features), []
        for known, mask in self.known:
            volumes = clock("4-D correlation", partial(hypercorrelation, maps, known, mask))
            encoded = clock("4-D convolutions", partial(self.dense.encode, volumes))
            size = (mask.shape[0], mask.shape[1])
            votes.append(clock("upsample", partial(self._vote, encoded, size)))
        share = torch.stack(votes).float().mean(0)
        return clock("resize", lambda: resize_labels(torch.stack([1 - share, share]), rgb.shape[:2]))

    def _vote(self, encoded: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return self.dense.logits(encoded, size).argmax(0)


def open_query(args: argparse.Namespace, method: str, supports: int, folder: str) -> Query:
    """The pictures and one method, with so many supports."""
    chosen = argparse.Namespace(**{**vars(args), "child": method, "supports": supports, "strides": [args.stride]})
    return (DenseQuery if method == "dense" else Query)(chosen, folder)


def measure_times(args: argparse.Namespace, supports: int) -> dict[str, Any]:
    """Times of all methods with so many supports, in one process, round by round in turn.

    Returns:
        ``supports``, and by method ``stages``, ``whole`` and ``first_query`` as `recording.spread` has them, and
        ``ratio``: seconds of the method over those of ``"graph"`` in the same round, or over the first method.
    """
    with tempfile.TemporaryDirectory() as folder:
        queries = {method: open_query(args, method, supports, folder) for method in args.methods}
        clocks = {method: watched(query) for method, query in queries.items()}
        stages: dict[str, list[dict[str, float]]] = {method: [] for method in queries}
        whole: dict[str, list[float]] = {method: [] for method in queries}
        for i in range(args.rounds + WARM_UP):
            for method, query in queries.items():
                clocks[method].seconds = {}
                query.staged(clocks[method])
                parts = exclusive(clocks[method].seconds)  # before the hooks add what follows
                begin = time.perf_counter()
                query.whole()  # ends with a copy to the CPU, which waits for a GPU
                seconds = time.perf_counter() - begin
                if i >= WARM_UP:
                    stages[method].append(parts)
                    whole[method].append(seconds)
        firsts = {m: first_queries(q, max(2, args.rounds // 2)) for m, q in queries.items() if m != "dense"}
        reference = "graph" if "graph" in queries else next(iter(queries))
        device, name = next((str(q.device), q.store.backbone.name) for q in queries.values())
    found = {
        method: {
            "stages": {key: spread([one[key] for one in stages[method]]) for key in stages[method][0]},
            "whole": spread(whole[method]),
            "first_query": spread(firsts.get(method, whole[method])),
            "ratio": ratio(whole[method], whole[reference]),
        }
        for method in queries
    }
    return {"supports": supports, "device": device, "backbone": name, "reference": reference, "methods": found}


def measure_memory(args: argparse.Namespace) -> dict[str, float]:
    """Memory of one method, in the process that runs this: before = supports known, peak = after three queries."""
    with tempfile.TemporaryDirectory() as folder:
        query = open_query(args, args.child, args.k[0], folder)
        before = resident("VmRSS")
        if query.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for _ in range(3):
            query.whole()
        found = {"before_mb": before, "peak_mb": resident("VmHWM")}
        if query.device.type == "cuda":
            found["gpu_peak_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return found
