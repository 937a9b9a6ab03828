"""What an evaluation found, and everything that its numbers depend on."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pixgraph.data.support_marks import SupportMarks
from pixgraph.evaluation.metrics import EpisodicIoU
from pixgraph.evaluation.tally import Tally
from pixgraph.version import __version__


@dataclass(frozen=True)
class Example:
    """An episode worth looking at; its pictures are redrawn from the seed and the position.

    Attributes:
        kind: ``"best"``, ``"median"`` or ``"worst"`` of the main method.
        seed: Seed of the episode list.
        episode: Position in that list.
        iou: Method to its IoU on this episode.
    """

    kind: str
    seed: int
    episode: int
    iou: dict[str, float]


@dataclass
class Evaluation:
    """Scores of several methods on the same episodes.

    Attributes:
        protocol: Name of the protocol.
        rule: Its scoring rule in words.
        dataset: Name of the data set.
        split: Its split.
        class_names: Class id to name, of the classes that are scored.
        n_way: Foreground classes in an episode, N.
        k_shot: Labelled pictures of each class, K.
        seeds: Seeds of the episode lists.
        episodes: Episodes a seed.
        full: Whether these are all the episodes that the protocol asks for.
        episode_hashes: Hash of the episode list of each seed.
        backbone: Name, pretraining and fingerprint of the CNN, and the working size.
        main: The method that the examples are chosen by.
        tallies: For each method, its counts for each seed, in the order of `seeds`.
        seconds: Wall time.
        peak_memory: Largest resident memory of a process, in bytes.
        peak_gpu_memory: Largest memory taken on a GPU, in bytes; 0 without one.
        marks: What the supports show of their masks.
    """

    protocol: str
    rule: str
    dataset: str
    split: str
    class_names: dict[int, str]
    n_way: int
    k_shot: int
    seeds: list[int]
    episodes: int
    full: bool
    episode_hashes: list[str]
    backbone: dict[str, Any]
    main: str
    tallies: dict[str, list[Tally]] = field(repr=False)
    seconds: float = 0.0
    peak_memory: int = 0
    peak_gpu_memory: int = 0
    marks: SupportMarks = field(default_factory=SupportMarks)

    def miou(self, name: str | None = None) -> float:
        """Mean over the seeds of a method's mIoU, in 0..1; the main method's when no name is given."""
        return _mean([tally.score.miou() for tally in self.tallies[name or self.main]])

    def total(self, name: str | None = None) -> EpisodicIoU:
        """A method's counts over all seeds."""
        first, *rest = (tally.score for tally in self.tallies[name or self.main])
        for score in rest:
            first = first.merge(score)
        return first

    def examples(self, each: int = 2) -> list[Example]:
        """The `each` best, median and worst episodes of the main method by their own IoU; ties by seed and position."""
        ious = np.stack([tally.episode_iou() for tally in self.tallies[self.main]])  # (seeds, E)
        order = [divmod(int(i), ious.shape[1]) for i in np.argsort(-ious, axis=None, kind="stable")]
        order = [(s, e) for s, e in order if not math.isnan(ious[s, e])]
        places = _places(len(order), each)
        return [
            Example(kind, self.seeds[s], e, {m: _number(t[s].episode_iou()[e]) or 0.0 for m, t in self.tallies.items()})
            for kind, rank in places
            for s, e in [order[rank]]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values: scores are fractions in 0..1, undefined ones null; counts are integers."""
        return {
            "protocol": self.protocol,
            "rule": self.rule,
            "dataset": self.dataset,
            "split": self.split,
            "classes": list(self.class_names.values()),
            "n_way": self.n_way,
            "k_shot": self.k_shot,
            **self._marked(),
            "seeds": list(self.seeds),
            "episodes": self.episodes,
            "full_protocol": self.full,
            "episode_hash": {str(s): h for s, h in zip(self.seeds, self.episode_hashes, strict=True)},
            "backbone": dict(self.backbone),
            "main": self.main,
            "methods": {name: self._method(tallies) for name, tallies in self.tallies.items()},
            "examples": [vars(example) for example in self.examples()],
            "seconds": round(self.seconds, 2),
            "episodes_per_second": round(self.episodes * len(self.seeds) / max(self.seconds, 1e-9), 2),
            "peak_memory_mb": round(self.peak_memory / 2**20, 1),
            "peak_gpu_memory_mb": round(self.peak_gpu_memory / 2**20, 1),
            "versions": {
                "pixgraph": __version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }

    def _marked(self) -> dict[str, Any]:
        """How the supports are annotated, where not by masks."""
        if self.marks.kind == "masks":
            return {}
        points = {"num_points": self.marks.num_points} if self.marks.kind in ("points", "mix") else {}
        return {"support_annotation": self.marks.kind, **points}

    def _method(self, tallies: Sequence[Tally]) -> dict[str, Any]:
        mious = [tally.score.miou() for tally in tallies]
        fb_ious = [tally.score.fb_iou() for tally in tallies]
        per_class = [tally.score.per_class() for tally in tallies]
        return {
            "miou": _number(_mean(mious)),
            "miou_sd": _number(_deviation(mious)),
            "fb_iou": _number(_mean(fb_ious)),
            "fb_iou_sd": _number(_deviation(fb_ious)),
            "per_class": {name: _number(_mean([one[c] for one in per_class])) for c, name in self.class_names.items()},
            "per_class_sd": {
                name: _number(_deviation([one[c] for one in per_class])) for c, name in self.class_names.items()
            },
            "per_seed": [
                {"seed": s, "miou": _number(m), "fb_iou": _number(fb), **tally.score.state()}
                for s, m, fb, tally in zip(self.seeds, mious, fb_ious, tallies, strict=True)
            ],
            "ms_per_query": round(_mean([tally.milliseconds_per_query for tally in tallies]), 3),
        }


def _places(count: int, each: int) -> list[tuple[str, int]]:
    """Ranks of the best, median and worst among `count` ordered episodes, each rank once."""
    each = min(each, count // 3) or min(1, count)
    middle = max(0, (count - each) // 2)
    wanted = (("best", range(each)), ("median", range(middle, middle + each)), ("worst", range(count - each, count)))
    seen: dict[int, str] = {}
    for kind, ranks in wanted:
        for rank in ranks:
            seen.setdefault(rank, kind)
    return [(kind, rank) for rank, kind in sorted(seen.items())]


def _mean(values: Sequence[float]) -> float:
    """Mean of the values that are not nan; nan if there are none."""
    defined = [v for v in values if not math.isnan(v)]
    return sum(defined) / len(defined) if defined else math.nan


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation over the seeds (n - 1); nan for fewer than two values."""
    defined = [v for v in values if not math.isnan(v)]
    return float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan


def _number(value: float) -> float | None:
    """A float that JSON can hold: nan becomes null."""
    return None if math.isnan(value) else float(value)
