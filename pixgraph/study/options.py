"""The options of a study, and which of them its numbers depend on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pixgraph.config import (
    BackboneConfig,
    Config,
    EpisodeConfig,
    GraphConfig,
    LossConfig,
    ModelConfig,
    SourceConfig,
    TrainConfig,
)
from pixgraph.config_check import build, check
from pixgraph.errors import ConfigError

PLACES = ("out", "name", "storage", "workers", "trials", "prune", "device", "report")
"""Options that change no number of a trial."""


def _short_training() -> TrainConfig:
    return TrainConfig(steps=60, batch=2, warmup=6, ema=0.9, augment=0)


@dataclass
class StudyOptions:
    """Measure how settings of graph construction change accuracy, time and memory, and recommend some.

    `pixgraph study` runs a study or goes on with it, `pixgraph study confirm` with the same options scores what it
    recommends on fresh episodes, `pixgraph study report --out DIR` writes its page again, and `pixgraph study space`
    prints the factors. Every trial sees the same episodes of the validation classes.

    Attributes:
        out: Folder of the study: its database, trials.csv, index.html, pictures and recommended settings.
        name: Name of this part of the study; mode and sampler when not given.
        mode: Training-free graph, or short trainings of the GNN.
        sampler: One factor at a time around the default (grid), at random, or by Optuna's TPE.
        trials: Trials; when not given, all of the grid or 50.
        space: YAML file of factors; the package's own when not given, see `pixgraph study space`.
        storage: URL of the database, for workers on several machines; an SQLite file in `out` when not given.
        workers: Processes of this command; the same command started elsewhere joins the study.
        data: Data set to score on; its training classes are trained on in mode "train".
        sources: Several data sets to score on instead; the first one's training classes are trained on.
        split: Whose classes are scored; "all" for a folder without splits.
        shots: Labelled pictures of each class, each number for itself.
        seeds: Number of episode lists.
        episodes: Episodes of a list.
        n_unlabelled: Unlabelled pictures of an episode, for factors that use them.
        prune: Give up trials that are behind in accuracy, time and memory; never in a grid, whose trials are compared.
        report: Write the page when all trials have ended.
        backbone: The frozen CNN.
        graph: The default, around which the study moves.
        episode: Episodes of short trainings.
        model: The GNN of short trainings.
        loss: Their losses.
        train: Their optimisation; the same number of steps for every trial.
        seed: Seed of random trials, samplers and short trainings.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
    """

    out: str = "runs/study"
    name: str | None = None
    mode: Literal["propagate", "train"] = "propagate"
    sampler: Literal["grid", "random", "tpe"] = "random"
    trials: int | None = None
    space: str | None = None
    storage: str | None = None
    workers: int = 1
    data: SourceConfig = field(default_factory=SourceConfig)
    sources: list[SourceConfig] = field(default_factory=list)
    split: Literal["val", "all"] = "val"
    shots: list[int] = field(default_factory=lambda: [1])
    seeds: int = 3
    episodes: int = 10
    n_unlabelled: int = 2
    prune: bool = True
    report: bool = True
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)
    episode: EpisodeConfig = field(default_factory=EpisodeConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=lambda: LossConfig(supcon=0.0))
    train: TrainConfig = field(default_factory=_short_training)
    seed: int = 0
    device: str = "cpu"

    @property
    def scored(self) -> list[SourceConfig]:
        """The data sets to score on."""
        return self.sources or [self.data]

    @property
    def part(self) -> str:
        """Name of this part of the study."""
        return self.name or f"{self.mode}-{self.sampler}"


def check_options(options: StudyOptions) -> StudyOptions:
    """The options, when they can be run.

    Raises:
        ConfigError: There is no data set, one is named twice, or an option is out of range.
    """
    if options.sources and options.data != SourceConfig():
        raise ConfigError("data: got a data set beside sources, expected one of them; leave the other out")
    shots = options.shots
    if not shots or min(shots) < 1 or len(set(shots)) < len(shots):
        raise ConfigError(f"shots: got {shots}, expected one or more different numbers >= 1")
    for name in ("workers", "seeds", "episodes"):
        if getattr(options, name) < 1:
            raise ConfigError(f"{name}: got {getattr(options, name)}, expected at least 1")
    if options.n_unlabelled < 0:
        raise ConfigError(f"n_unlabelled: got {options.n_unlabelled}, expected 0 or more")
    if options.trials is not None and options.trials < 1:
        raise ConfigError(f"trials: got {options.trials}, expected at least 1")
    titles = source_titles(options.scored)
    if len(set(titles)) < len(titles):
        raise ConfigError(f"sources: got {', '.join(titles)}, expected each once")
    check(base_config(options))
    return options


def source_titles(sources: list[SourceConfig]) -> list[str]:
    """How tables call the data sets.

    Example:
        >>> source_titles([SourceConfig("camvid", "x", crops=True), SourceConfig("folder", "data/mine")])
        ['camvid crops', 'mine']
    """
    titles = []
    for source in sources:
        name = Path(source.root).name if source.name == "folder" and source.root else source.name
        titles.append(name + (" parts" if source.parts else "") + (" crops" if source.crops else ""))
    return titles


def base_config(options: StudyOptions) -> Config:
    """The configuration that the factors change."""
    return build(
        Config,
        {
            "data": dataclasses.asdict(options.scored[0]),
            "episodes": dataclasses.asdict(options.episode),
            **{k: dataclasses.asdict(getattr(options, k)) for k in ("backbone", "graph", "model", "loss", "train")},
            "seed": options.seed,
            "device": options.device,
        },
    )


def fixed_settings(options: StudyOptions, space: str) -> str:
    """Everything that a trial's numbers depend on, as canonical JSON; folders, which differ between machines, by name.

    Args:
        options: The options.
        space: Text that describes the factors.
    """
    values: dict[str, Any] = dataclasses.asdict(options)
    for key in PLACES:
        del values[key]
    values["sources"] = values["sources"] or [values["data"]]
    del values["data"]
    for source in values["sources"]:
        source["root"] = None if source["root"] is None else Path(source["root"]).name
    weights = values["backbone"]["weights"]
    values["backbone"]["weights"] = None if weights is None else Path(weights).name
    del values["backbone"]["cache"]
    values["space"] = space
    return json.dumps(values, sort_keys=True)
