"""From a configuration to a trained network: data, labels, method, and the training in the run's folder."""

from __future__ import annotations

from typing import Any

import torch

from pixgraph.config_check import check
from pixgraph.data.semantic import SemanticSplit, open_splits, refuse_shared
from pixgraph.pretrain.batches import StepBatches
from pixgraph.pretrain.config import given_weights, starting_point
from pixgraph.pretrain.encoders import save_backbone
from pixgraph.pretrain.reco.config import RecoConfig, check_reco
from pixgraph.pretrain.reco.labels import Labels, choose, digest, make_source
from pixgraph.pretrain.reco.method import ReCo
from pixgraph.pretrain.reco.page import save_pseudo_labels
from pixgraph.pretrain.run import check_shares
from pixgraph.pretrain.score_page import save_scores
from pixgraph.pretrain.segmentation_network import build_segmentation_network
from pixgraph.pretrain.shared_norm import placed
from pixgraph.pretrain.trainer import Pretrainer
from pixgraph.pretrain.validation import Validation
from pixgraph.training.atomic import write_json
from pixgraph.training.device import resolve_device
from pixgraph.training.distributed import ProcessGroup, World, local_rank
from pixgraph.training.randomness import torch_seed
from pixgraph.training.records import plain
from pixgraph.training.run import RunFolder, RunTitle, open_run
from pixgraph.training.signals import StopSignals

SHOWN = 4
"""Pictures of a kind on the run's page."""


def train_reco(config: RecoConfig, resume: bool = False) -> RunFolder:
    """Train a network from few labels as configured, alone or as one of the processes that torchrun started.

    The run's folder then holds ``backbone.safetensors``, which ``--backbone.weights RUN`` takes, ``labels.json`` with
    the chosen pictures, checkpoints, metrics, ``scores.json`` with the teacher's last validation, and index.html.

    Args:
        config: The run's configuration.
        resume: Continue the run `config.run` where its last checkpoint is.

    Returns:
        The run's folder, its lock given back.

    Raises:
        ConfigError: A setting is out of range or unknown, contradicts another, or asks for more labels than there are.
        DataError: Pictures or masks are missing or broken.
        CheckpointError: The weights to start from or the checkpoint to resume from do not load.
        RunError: The run's folder is in use, of another configuration or cannot be written; the training diverged.
        DependencyError: A library, the device or TensorBoard is not there.
        TrainingStopped: SIGTERM or SIGINT came; the state is saved.
    """
    check_reco(check(config))
    device = resolve_device(config.device, local_rank())
    with ProcessGroup("nccl" if device.type == "cuda" else "gloo") as world:
        check_shares(config, world)
        split, scored = open_splits(config.data, "train", config.val_split)
        refuse_shared(split, scored)
        labels = choose(split, config.labels, config.seed)
        signals = StopSignals()
        stop = signals.breaks(world.size)
        validation = Validation(scored, config.views.short_side, config.val_pictures, stop, config.cache_mb * 2**20)
        validation.load()
        method = make_method(config, split.classes, device, world)
        title = RunTitle("reco", {"dataset": split.name, "method": described(config)})
        with open_run(config, resume, world, title) as run:
            text = _made_from(config, split, labels)

            def export(step: int) -> None:
                """Write the teacher as a backbone that says where it comes from."""
                save_backbone(method.network, run.path / "backbone.safetensors", f"{text}, {step} steps")

            batches = StepBatches(make_source(split, labels, config), config.optim, world)
            trainer = Pretrainer(
                method,
                batches,
                config,
                run,
                digest(split, labels),
                export,
                world,
                signals,
                lambda: validation(method.network),
            )
            if world.is_main and not resume:
                labels.choice.save(run.path / "labels.json")
            facts = _facts(split, labels)
            trainer.complete(resume, facts, lambda: _show(run, config, split, labels, validation, method))
    return run


def make_method(config: RecoConfig, classes: int, device: torch.device, world: World) -> ReCo:
    """Student and teacher of a configuration, the same on all processes, with shared batch statistics.

    Raises:
        ConfigError: The network is unknown.
        CheckpointError: The weights do not load.
        DependencyError: A library is not installed.
    """
    with torch_seed(config.seed, device):
        method = ReCo(
            build_segmentation_network(
                config.network, given_weights(config.weights), classes, config.embedding, config.seed
            ),
            config,
        )
    return placed(method, device, world.size)


def described(config: RecoConfig) -> str:
    """What a run trains with, in two words: ``supervised``, ``classmix``, ``classmix+reco``."""
    first = "supervised" if config.mixing == "none" else config.mixing
    return f"{first}+reco" if config.reco else first


def _made_from(config: RecoConfig, split: SemanticSplit, labels: Labels) -> str:
    """What tables say about the weights."""
    part = "" if config.labels.ratio is None else f" ({config.labels.ratio})"
    start = starting_point(config.weights)
    kept = f"{len(labels.choice.keys)} labels{part} of {len(split)} pictures of {split.name}"
    return f"ReCo ({described(config)}) on {kept}, from {start}"


def _facts(split: SemanticSplit, labels: Labels) -> dict[str, Any]:
    return {
        "pictures": len(split),
        "labelled": len(labels.choice.keys),
        "labels_hash": labels.choice.hash,
        "classes": split.classes,
    }


def _show(
    run: RunFolder, config: RecoConfig, split: SemanticSplit, labels: Labels, validation: Validation, method: ReCo
) -> None:
    """Score the teacher once more where this session has not, and keep what the page shows."""
    network = method.network
    if not validation.confusion.counts.any():
        validation(network)
    write_json(run.path / "scores.json", plain(validation.to_dict()))
    save_scores(run.path, validation, network, SHOWN)
    others = [split.keys.index(key) for key in labels.others]
    chosen = [others[i * len(others) // SHOWN] for i in range(min(SHOWN, len(others)))]
    save_pseudo_labels(run.path, split, chosen, network, config.views.short_side, config.pseudo.weak_threshold)
