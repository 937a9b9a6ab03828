"""Scoring a trained run or a training-free method, and keeping the scores in a run's folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pixgraph.config import BackboneConfig, Config, GraphConfig, SourceConfig
from pixgraph.errors import RunError

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore
    from pixgraph.data.base import FewShotDataset
    from pixgraph.data.protocols import Protocol
    from pixgraph.evaluation.result import Evaluation
    from pixgraph.models.predictor import Predictor
    from pixgraph.training.run import RunFolder


@dataclass
class EvaluateOptions:
    """Score a trained run, or a training-free method, on the episodes of a protocol, beside the trivial baselines.

    Attributes:
        run: Folder of the trained run to score; its settings are the defaults, its summary and report get the scores.
        method: Training-free method to score: propagate, prototype, knn, linear or all-background.
        name: Folder, below `runs`, for the scores of a method; made from data set, method and time when not given.
        data: Source of the classes.
        backbone: The frozen CNN.
        graph: Construction of the graph.
        protocol: Episodes and scoring rule: pixgraph-v1, hsnet-1000@400, hsnet-2400@400, pfenet-5000@orig-padded,
            pfenet-20000@orig-padded or panet-5x1000.
        split: Split whose classes are scored; "all" for a folder without splits.
        n_way: Foreground classes in an episode, N.
        k_shot: Labelled pictures of each class, K.
        support_annotation: What the supports show of their masks; "mix" draws masks, points, scribbles or boxes for
            each.
        num_points: Points of each class and of the background, where they show points.
        episodes: Episodes a seed; the protocol's own number when not given.
        seeds: Number of seeds; the protocol's own when not given.
        mirror: Take the mean with the answer to the mirrored pictures: a little better, twice the time.
        baselines: Also score the trivial baselines.
        report: Also write the HTML report.
        seed: Seed of the node sampling.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        runs: Folder that holds the run folders.
    """

    run: str | None = None
    method: str | None = None
    name: str | None = None
    data: SourceConfig = field(default_factory=SourceConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    graph: GraphConfig = field(default_factory=GraphConfig)
    protocol: str = "pixgraph-v1"
    split: Literal["train", "val", "test", "all"] = "test"
    n_way: int = 1
    k_shot: int = 1
    support_annotation: Literal["masks", "points", "scribbles", "boxes", "mix"] = "masks"
    num_points: int = 5
    episodes: int | None = None
    seeds: int | None = None
    mirror: bool = False
    baselines: bool = True
    report: bool = True
    seed: int = 0
    device: str = "auto"
    runs: str = "runs"


@dataclass
class Scored:
    """The scores of a method, and what they were made with, which the report draws from.

    Attributes:
        evaluation: The scores.
        predictors: The method, and others that stand beside it in the panels.
        dataset: What was scored on.
        store: Features of its pictures.
        protocol: Episodes and rule.
    """

    evaluation: Evaluation
    predictors: dict[str, Predictor]
    dataset: FewShotDataset
    store: FeatureStore
    protocol: Protocol


def score(options: EvaluateOptions) -> Scored:
    """Run the method, the training-free graph beside a trained one, and the baselines.

    Raises:
        ConfigError: The method, the data set or the protocol is unknown, or cannot give such episodes.
        CheckpointError: The run's checkpoint does not load.
    """
    from pixgraph.data.catalog import open_dataset
    from pixgraph.data.protocols import get_protocol
    from pixgraph.data.support_marks import SupportMarks
    from pixgraph.evaluation.evaluate import evaluate
    from pixgraph.methods import open_method, training_free
    from pixgraph.training.device import resolve_device
    from pixgraph.training.distributed import local_rank

    protocol = get_protocol(options.protocol)
    device = resolve_device(options.device, local_rank())
    kind = options.method or "graph"
    dataset = open_dataset(options.data, options.split)
    method = open_method(kind, options.backbone, options.graph, options.run, device, options.seed, options.mirror)
    predictors: dict[str, Predictor] = {method.predictor.name: method.predictor}
    if kind == "graph" and options.baselines:
        predictors["propagate"] = training_free("propagate", options.graph, options.seed)
    evaluation = evaluate(
        predictors,
        dataset,
        method.store,
        protocol,
        options.n_way,
        options.k_shot,
        seeds=None if options.seeds is None else first_seeds(protocol.seeds, options.seeds),
        episodes=options.episodes,
        baselines=options.baselines,
        marks=SupportMarks(options.support_annotation, options.num_points),
    )
    return Scored(evaluation, predictors, dataset, method.store, protocol)


def first_seeds(seeds: Sequence[int], number: int) -> list[int]:
    """The first seeds of a protocol, and the numbers that follow its last one when it has fewer.

    Example:
        >>> first_seeds((1234, 1235), 3)
        [1234, 1235, 1236]
    """
    return [*seeds, *range(seeds[-1] + 1, seeds[-1] + 1 + number)][:number]


def check_place(options: EvaluateOptions) -> None:
    """Refuse, before anything is computed, what `keep` could not write afterwards.

    Raises:
        RunError: The run's folder is in use, or a folder of the new name exists already.
    """
    if options.run:
        with _trained_run(options.run):
            return
    path = Path(options.runs) / str(options.name)
    if options.name and (path / "config.yaml").exists():
        raise RunError(f"run {path} exists already; give another name with --name")


def keep(options: EvaluateOptions, scored: Scored) -> Path:
    """Write the scores into the folder of the run, or into a new one, and the report.

    Returns:
        The folder.

    Raises:
        RunError: The folder is in use, exists already, or cannot be written.
    """
    from pixgraph.training.ledger import record_run
    from pixgraph.training.run import RunFolder

    folder = _trained_run(options.run) if options.run else RunFolder.create(_as_config(options))
    label = f"{options.split}-{options.n_way}way-{options.k_shot}shot-{options.protocol}"
    if options.support_annotation != "masks":
        label += f"-{options.support_annotation}"
    if options.mirror:
        label += "-mirrored"
    with folder:
        keep_scores(folder, label, scored.evaluation)
        if not options.run:
            record_run(folder.path.parent, folder.path.name, {"method": options.method, "state": "evaluated"})
    if options.report:
        _report(options, folder.path, label, scored)
    return folder.path


def _report(options: EvaluateOptions, folder: Path, label: str, scored: Scored) -> None:
    """Redraw the best, median and worst episodes and the graph of the first of them, and write the page."""
    from pixgraph.report.page import write_report
    from pixgraph.report.panels import make_panels, save_panels

    panels = make_panels(scored.evaluation, scored.predictors, scored.dataset, scored.store, scored.protocol)
    graph = _drawn_graph(options, scored) if options.method in (None, "graph", "propagate") else None
    save_panels(folder, label, panels, graph)
    write_report(folder)


def _drawn_graph(options: EvaluateOptions, scored: Scored) -> bytes | None:
    """The task graph of the best episode, drawn over its pictures, as PNG."""
    from pixgraph.data.tasks import load_task
    from pixgraph.graph.draw import draw_graph
    from pixgraph.graph.task import task_graph
    from pixgraph.models.completion import complete_task
    from pixgraph.report.panels import graph_png

    found = scored.evaluation.examples(1)
    if not found:
        return None
    # Episode i depends on the seed and i only: a list that ends with it will do.
    short = replace(scored.protocol, episodes=found[0].episode + 1)
    episode = short.episode_list(scored.dataset, options.n_way, options.k_shot, found[0].seed)[found[0].episode]
    task = complete_task(load_task(scored.dataset, episode, scored.store, marks=scored.evaluation.marks).to("cpu"))
    return graph_png(draw_graph(task, task_graph(task, options.graph, options.seed)))


def _trained_run(run: str) -> RunFolder:
    from pixgraph.config_check import build
    from pixgraph.training.records import read_config
    from pixgraph.training.run import RunFolder

    path = Path(run).resolve()
    return RunFolder.open(build(Config, {**read_config(path), "runs": str(path.parent), "run": path.name}))


def _as_config(options: EvaluateOptions) -> Config:
    """What a run of a training-free method is made of, in the terms of a training."""
    config = Config(data=options.data, backbone=options.backbone, graph=options.graph, seed=options.seed)
    config.episodes.n_way, config.episodes.k_shot = options.n_way, options.k_shot
    config.device, config.runs = options.device, options.runs
    config.run = options.name or f"{options.data.name}-{options.method}-{time.strftime('%Y%m%d-%H%M%S')}"
    return config


def keep_scores(folder: RunFolder, label: str, evaluation: Evaluation) -> None:
    """Write ``evaluations/LABEL.json``, and the same as ``evaluation`` into summary.json, where the report reads it.

    The ledger gets the mIoU of the main method as ``test_miou`` when the split is "test".

    Args:
        folder: The run.
        label: What was scored, e.g. ``"test-1way-5shot-pixgraph-v1"``.
        evaluation: The scores.

    Raises:
        RunError: The folder cannot be written.
    """
    from pixgraph.training.atomic import write_json
    from pixgraph.training.ledger import record_run
    from pixgraph.training.records import plain

    found: dict[str, Any] = plain(evaluation.to_dict())
    target = folder.path / "evaluations"
    try:
        target.mkdir(exist_ok=True)
        write_json(target / f"{label}.json", found)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror or error}; free space or change permissions") from error
    folder.summarise({"evaluation": found})
    miou = found["methods"][found["main"]]["miou"]
    if found["split"] == "test" and miou is not None:
        record_run(folder.path.parent, folder.path.name, {"test_miou": f"{miou:.4f}", "test": label})
