"""Settings of the probes, as dataclasses, and their legal values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pixgraph.config import BackboneConfig, GraphConfig, SourceConfig
from pixgraph.errors import ConfigError

ACTIONS = ("linear", "retrieval", "colors", "few-shot", "all")
"""The probes; the last is all of them."""


@dataclass
class LinearConfig:
    """The linear classifier of single pixels.

    Attributes:
        pixels: Training pixels, drawn evenly from the training pictures.
        weighting: What a pixel weighs in the loss: "none" (all pixels alike), "inverse" (all classes alike) or "median"
            (median frequency over the frequency of its class, where that occurs).
        penalty: Weight of the squared norm of the coefficients; the loss is a mean over pixels.
        steps: Most iterations of L-BFGS.
        seeds: How often pixels are drawn and the classifier is fitted.
    """

    pixels: int = 60000
    weighting: Literal["none", "inverse", "median"] = "none"
    penalty: float = 1e-3
    steps: int = 100
    seeds: int = 1


@dataclass
class RetrievalConfig:
    """The search for pixels or segments that look alike.

    Attributes:
        splits: Splits whose pictures are searched; the queries come from `split`.
        queries: Queries a class; without masks, in all.
        shown: Queries on the contact sheet.
        top: Pictures that a query gets, each by its most similar pixel or segment.
        apart: Pictures before and after the query's own, by file name, that it does not search: frames of a video show
            the same thing again.
        stride: Pixels of the working size between two candidates.
        segments: Superpixels of a picture, about.
    """

    splits: list[str] = field(default_factory=lambda: ["train", "val"])
    queries: int = 20
    shown: int = 8
    top: int = 5
    apart: int = 0
    stride: int = 16
    segments: int = 64


@dataclass
class FewShotConfig:
    """The training-free graph on the embedding.

    Attributes:
        data: NAME:FOLDER of the data set with the classes; none: that of the other probes.
        split: Whose classes.
        k_shot: Labelled pictures of each class.
        episodes: Episodes a seed.
        seeds: Episode lists.
    """

    data: str | None = None
    split: Literal["train", "val", "test", "all"] = "val"
    k_shot: int = 1
    episodes: int = 200
    seeds: int = 1


@dataclass
class ProbeConfig:
    """Measure and show what a frozen embedding is worth, without training a network on it.

    `pixgraph probe linear` classifies single pixels, `retrieval` searches pixels and segments that look alike, `colors`
    draws the embedding in colours and similarity maps, `few-shot` scores the training-free graph, `all` does
    everything. Each writes into `out`, where index.html shows what has been done.

    Attributes:
        out: Folder of the results; the page in it is made anew each time.
        data: A data set with a class for every pixel.
        backbone: The embedding: `--backbone.weights RUN` alone takes that of a pretraining.
        levels: Which of the backbone's maps count, 0 the finest, -1 the coarsest; none: all joined.
        split: Split that is scored; "val" while anything is being chosen. Where its classes are not those of training,
            every second picture of it trains the linear classifier and the others are scored; so it is for "all".
        linear: The linear classifier.
        retrieval: The search.
        pictures: Pictures that are drawn in colours and with similarity maps.
        few_shot: The training-free graph.
        graph: Its construction.
        seed: Seed of pixels, queries and random weights.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
    """

    out: str = ""
    data: SourceConfig = field(default_factory=SourceConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    levels: list[int] | None = None
    split: Literal["train", "val", "test", "all"] = "val"
    linear: LinearConfig = field(default_factory=LinearConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    pictures: int = 6
    few_shot: FewShotConfig = field(default_factory=FewShotConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)
    seed: int = 0
    device: str = "auto"


_AT_LEAST = {
    "linear.pixels": 1,
    "linear.penalty": 1e-12,  # without any, classes that can be separated have no solution
    "linear.steps": 1,
    "linear.seeds": 1,
    "retrieval.queries": 1,
    "retrieval.shown": 1,
    "retrieval.top": 1,
    "retrieval.apart": 0,
    "retrieval.stride": 1,
    "retrieval.segments": 1,
    "few_shot.k_shot": 1,
    "few_shot.episodes": 1,
    "few_shot.seeds": 1,
    "pictures": 1,
}


def check_probe(config: ProbeConfig) -> ProbeConfig:
    """Return `config` unchanged when every number of it is legal.

    Raises:
        ConfigError: Naming the dotted key, its value and the legal range.
    """
    if not config.out:
        raise ConfigError("--out: missing; expected --out DIR, the folder of the results")
    for key, least in _AT_LEAST.items():
        value: Any = config
        for part in key.split("."):
            value = getattr(value, part)
        if not value >= least:
            raise ConfigError(f"{key}: got {value}, expected at least {least:g}; correct it")
    if config.levels is not None and not config.levels:
        raise ConfigError("levels: got an empty list, expected at least one level; leave it out for all")
    if not config.retrieval.splits:
        raise ConfigError("retrieval.splits: got an empty list, expected at least one split such as train; name one")
    return config


def chosen_levels(levels: list[int] | None, count: int) -> list[int]:
    """Indices of the chosen levels of a backbone that has `count`, each in 0..count-1.

    Example:
        >>> chosen_levels([-1, 0], 3), chosen_levels(None, 2)
        ([2, 0], [0, 1])

    Raises:
        ConfigError: A level is not there, or is named twice.
    """
    if levels is None:
        return list(range(count))
    wrong = [level for level in levels if not -count <= level < count]
    found = [level % count for level in levels]
    if wrong or len(set(found)) < len(found):
        raise ConfigError(f"levels: got {levels}, expected different ones in {-count}..{count - 1}; correct them")
    return found
