"""From a configuration to an embedding trained from weak labels, with its classifier and its scores."""

from __future__ import annotations

import torch

from pixgraph.config_check import check
from pixgraph.data.semantic import SemanticSplit, open_semantic, open_splits, refuse_shared
from pixgraph.data.subset import hold_out
from pixgraph.pretrain.batches import StepBatches
from pixgraph.pretrain.config import given_weights, starting_point
from pixgraph.pretrain.encoders import save_backbone
from pixgraph.pretrain.optimizers import build_optimizer
from pixgraph.pretrain.run import check_shares
from pixgraph.pretrain.score_page import save_scores
from pixgraph.pretrain.segmentation_network import build_segmentation_network
from pixgraph.pretrain.shared_norm import placed
from pixgraph.pretrain.spml.config import SPMLConfig, check_spml
from pixgraph.pretrain.spml.final_classifier import (
    FINAL,
    embed_pictures,
    fit_classifier,
    load_classifier,
    save_classifier,
)
from pixgraph.pretrain.spml.method import SPML
from pixgraph.pretrain.spml.page import save_retrieval, save_segments
from pixgraph.pretrain.spml.retrieval import SegmentRetrieval
from pixgraph.pretrain.spml.source import WeakSource
from pixgraph.pretrain.spml.tag_labels import TagLabeller, write_labels
from pixgraph.pretrain.spml.weak_labels import PSEUDO, PseudoLabels, WeakLabels
from pixgraph.pretrain.trainer import Pretrainer
from pixgraph.pretrain.validation import Validation
from pixgraph.training.atomic import write_json
from pixgraph.training.device import resolve_device
from pixgraph.training.distributed import ProcessGroup, World, local_rank
from pixgraph.training.randomness import torch_seed
from pixgraph.training.records import plain
from pixgraph.training.run import RunFolder, RunTitle, open_run
from pixgraph.training.signals import StopSignals


def pretrain_spml(config: SPMLConfig, resume: bool = False) -> RunFolder:
    """Train as configured, alone or as one of the processes that torchrun started.

    The run's folder then holds ``backbone.safetensors``, which ``--backbone.weights RUN`` takes, beside checkpoints,
    metrics, the last classifier, scores on the validation pictures and the page index.html.

    Args:
        config: The run's configuration.
        resume: Continue the run `config.run` where its last checkpoint is.

    Returns:
        The run's folder, its lock given back.

    Raises:
        ConfigError: A setting is out of range or unknown, or does not go with another.
        DataError: There are no pictures or masks, or annotations do not fit them.
        CheckpointError: The weights to start from or the checkpoint to resume from do not load.
        RunError: The run's folder is in use, of another configuration or cannot be written; the training diverged.
        DependencyError: A library, the device or TensorBoard is not there.
        TrainingStopped: SIGTERM or SIGINT came; the state is saved.
    """
    check_spml(check(config))
    device = resolve_device(config.device, local_rank())
    with ProcessGroup("nccl" if device.type == "cuda" else "gloo") as world:
        check_shares(config, world)
        train, scored = chosen_splits(config)
        refuse_shared(train, scored)
        labels = WeakLabels(train, config.annotation, config.marks)
        signals = StopSignals()
        stop = signals.breaks(world.size)
        validation = Validation(scored, config.views.short_side, config.val_pictures, stop)
        validation.load()
        method = make_method(config, train, device, world)
        tagged = fit_tags(config, labels, method, device) if config.annotation == "tags" else None
        with open_run(config, resume, world, _title(config, train)) as run:
            if tagged is not None:
                labels.pseudo = PseudoLabels(run.path / PSEUDO, train)
                if world.is_main:
                    write_labels(tagged, train, labels.pseudo.missing(labels.indices), labels.tags, run.path / PSEUDO)
                world.barrier()

            def export(step: int) -> None:
                """Write the network as a backbone that says where it comes from."""
                save_backbone(method.network, run.path, f"{_made_from(config, labels)}, {step} steps")

            source = make_source(config, labels)
            trainer = Pretrainer(
                method,
                StepBatches(source, config.optim, world),
                config,
                run,
                labels.digest,
                export,
                world,
                signals,
                lambda: validation(method.labeller()),
                build_optimizer(method, config.optim, method.heads(), config.head_scale),
            )
            facts = {"pictures": len(labels.indices), "regions": config.spml.regions}
            trainer.complete(resume, facts, lambda: _show(run, config, validation, method, source))
    return run


def chosen_splits(config: SPMLConfig) -> tuple[SemanticSplit, SemanticSplit]:
    """The training pictures, and those that are scored: of another split, or held out.

    Raises:
        ConfigError: They do not have the same classes.
        DataError: The data set is not there.
    """
    if config.holdout:
        return hold_out(open_semantic(config.data, config.train_split), config.holdout)
    return open_splits(config.data, config.train_split, config.val_split)


def make_source(config: SPMLConfig, labels: WeakLabels) -> WeakSource:
    """The batches of a training."""
    used = config.spml.regions if config.relations != "none" else "none"
    return WeakSource(labels, config.views, used, config.spml.num_regions, config.seed)


def make_method(config: SPMLConfig, split: SemanticSplit, device: torch.device, world: World) -> SPML:
    """Network, classifier and bank of a configuration, the same on all processes, with shared batch statistics.

    Raises:
        ConfigError: The network is unknown.
        CheckpointError: The weights do not load.
        DependencyError: A library is not installed.
    """
    with torch_seed(config.seed, device):
        network = build_segmentation_network(
            config.network, given_weights(config.weights), split.classes, config.embedding, config.seed
        )
        method = SPML(network, config, split.background)
    return placed(method, device, world.size)


def fit_tags(config: SPMLConfig, labels: WeakLabels, method: SPML, device: torch.device) -> TagLabeller:
    """What turns tags into labels, with the network as it is before the training.

    Raises:
        DataError: No tag tells the pictures apart, or a file is missing or broken.
    """
    split = labels.split
    found = TagLabeller(method.network, split.classes, split.background, config.views.short_side, device)
    found.fit(split, labels.indices, labels.tags)
    return found


def make_retrieval(method: SPML, labels: WeakLabels, short_side: int) -> SegmentRetrieval:
    """Segment retrieval with the training pictures and what is known of them; the method is then evaluating.

    Raises:
        DataError: Nothing is annotated, or a file is missing or broken.
    """
    found = SegmentRetrieval(method.eval().embed, method.classes, device=method.network.mean.device)
    found.remember(labels.split, labels.indices, labels.known, short_side)
    return found


def has_final(config: SPMLConfig) -> bool:
    """Whether a classifier is trained anew in the end."""
    return config.spml.final_steps > 0 and config.relations != "none"


def described(config: SPMLConfig) -> str:
    """What a run trains with: ``spml``, or ``classifier`` without contrasts."""
    return "classifier" if config.relations == "none" else "spml"


def _title(config: SPMLConfig, split: SemanticSplit) -> RunTitle:
    columns = {"dataset": split.name, "method": f"{described(config)} {config.annotation}"}
    return RunTitle(f"spml-{config.annotation}", columns)


def _made_from(config: SPMLConfig, labels: WeakLabels) -> str:
    """What tables say about the weights."""
    start = starting_point(config.weights)
    pictures = f"{len(labels.indices)} pictures of {labels.split.name}"
    return f"SPML ({described(config)}) on {config.annotation} of {pictures}, from {start}"


def _show(run: RunFolder, config: SPMLConfig, validation: Validation, method: SPML, source: WeakSource) -> None:
    """Train the last classifier, score it and retrieval, and keep what the page shows."""
    short = config.views.short_side
    asked = make_retrieval(method, source.labels, short)
    if has_final(config):
        if not (run.path / FINAL).is_file():
            pictures = embed_pictures(asked, source.labels, short)
            settings = (config.spml.hidden, method.classes, config.spml.final_dropout, config.spml.final_steps)
            save_classifier(run.path, fit_classifier(pictures, *settings, config.seed))
        load_classifier(run.path, method.classifier)
    network = method.labeller()
    if has_final(config) or not validation.confusion.counts.any():
        validation(network)
    save_scores(run.path, validation, network, who="classifier")
    save_segments(run.path, method, source)
    retrieved = save_retrieval(run.path, asked, source.labels.split, validation)
    write_json(run.path / "scores.json", {**plain(validation.to_dict()), "retrieval": retrieved})
    run.summarise({"scores": {"classifier": validation.confusion.miou(), "retrieval": retrieved["miou"]}})
