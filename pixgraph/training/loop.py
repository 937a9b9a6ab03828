"""From a configuration to a trained run: builds data, features and network, and trains in the run's folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.features import FeatureStore
from pixgraph.config import Config
from pixgraph.config_check import check
from pixgraph.data.base import FewShotDataset
from pixgraph.models.network import PixGraphNet
from pixgraph.models.predictor import GraphPredictor
from pixgraph.training.device import resolve_device
from pixgraph.training.distributed import ProcessGroup, local_rank
from pixgraph.training.environment import environment
from pixgraph.training.identity import flatten
from pixgraph.training.randomness import torch_seed
from pixgraph.training.records import read_environment
from pixgraph.training.run import RunFolder, open_run
from pixgraph.training.signals import StopSignals
from pixgraph.training.sources import TrainingTasks, Validation
from pixgraph.training.step import episode_loss
from pixgraph.training.trainer import Trainer


def train(config: Config, resume: bool = False) -> RunFolder:
    """Train the GNN as configured, alone or as one of the processes that torchrun started.

    Args:
        config: The run's configuration.
        resume: Continue the run `config.run` where its last checkpoint is.

    Returns:
        The run's folder, its lock given back.

    Raises:
        ConfigError: A setting is out of range or unknown.
        DataError: Pictures or masks are missing, broken or too few.
        CheckpointError: The backbone's weights or the checkpoint to resume from do not load.
        RunError: The run's folder is in use, of another configuration or cannot be written; the training diverged.
        DependencyError: The device or TensorBoard is not there.
        TrainingStopped: SIGTERM or SIGINT came; the state is saved.
    """
    check(config)
    device = resolve_device(config.device, local_rank())
    with ProcessGroup("nccl" if device.type == "cuda" else "gloo") as world:
        backbone = build_backbone(config.backbone)
        store = FeatureStore(backbone, config.backbone.size, config.backbone.cache, device)
        tasks = TrainingTasks(config, store)
        signals = StopSignals()
        validation = Validation(
            config,
            store,
            lambda network: GraphPredictor(network, config.graph, config.seed),
            signals.breaks(world.size),
        )
        with torch_seed(config.seed, device):
            network = PixGraphNet(backbone.channels, config.model, backbone.strides).to(device)
        origin = {
            "channels": list(backbone.channels),
            "strides": list(backbone.strides),
            "backbone": {key: getattr(backbone, key) for key in ("name", "pretrained_on", "fingerprint")},
            "data": tasks.digests(),
        }
        with open_run(config, resume, world) as run:
            trainer = Trainer(network, episode_loss, tasks, validation, config, run, world, signals, origin)
            if resume:
                trainer.resume()
            if world.is_main:
                record_environment(run, device, world.size, resume)
                parameters = sum(p.numel() for p in network.parameters())
                run.summarise({"backbone": origin["backbone"], "parameters": parameters})
                _warn_of_shared(tasks.datasets, validation.dataset)
            with signals:
                trainer.fit()
    return run


def _warn_of_shared(training: Sequence[FewShotDataset], validation: FewShotDataset) -> None:
    """Say so when pictures are both trained on and validated on, as in a folder of few classes without lists."""
    files = {sample.image for dataset in training for sample in dataset.samples if sample.mask and sample.image}
    seen = sum(sample.image in files for sample in validation.samples if sample.mask)
    if seen:
        sys.stderr.write(
            f"pixgraph: {seen} of the {len(validation)} pictures of the validation are trained on: its scores say "
            "little about others; to score unseen classes or pictures, name them in splits/train.txt, val.txt and "
            "test.txt\n"
        )


def record_environment(run: RunFolder, device: torch.device, processes: int, resume: bool) -> None:
    """Write the environment; say so when a resumed run may not continue to the bit because of it.

    Args:
        run: The run's folder.
        device: Where it computes.
        processes: How many compute.
        resume: Whether the run existed before.
    """
    now = environment(device, processes)
    before = flatten(read_environment(run.path)) if resume else {}
    current = flatten(now)
    keys = [k for k in before if k.startswith(("pixgraph", "packages.", "device", "threads", "processes"))]
    changed = [f"{k} {before[k]} -> {current.get(k)}" for k in keys if before[k] != current.get(k)]
    if changed:
        note = "results will not be those of an uninterrupted run to the bit"
        sys.stderr.write(f"pixgraph: resumed in another environment ({', '.join(changed)}): {note}\n")
    run.write_environment(now)
