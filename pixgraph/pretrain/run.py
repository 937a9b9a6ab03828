"""From a configuration to a pretrained backbone: builds pictures, views and method, and trains in the run's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from pixgraph.config_check import check
from pixgraph.errors import ConfigError
from pixgraph.pretrain.batches import StepBatches
from pixgraph.pretrain.config import PretrainConfig, given_weights, starting_point
from pixgraph.pretrain.draw_pairs import write_pair_pictures
from pixgraph.pretrain.encoders import build_encoder, save_backbone
from pixgraph.pretrain.methods import PixelMethod, build_method
from pixgraph.pretrain.pictures import open_pictures
from pixgraph.pretrain.shared_norm import placed
from pixgraph.pretrain.trainer import Pretrainer, Settings
from pixgraph.pretrain.views import ViewDataset
from pixgraph.report.sheets import Sheet, save_sheets
from pixgraph.training.device import resolve_device
from pixgraph.training.distributed import ProcessGroup, World, local_rank
from pixgraph.training.randomness import torch_seed
from pixgraph.training.run import RunFolder, RunTitle, open_run
from pixgraph.training.signals import StopSignals

TITLES = {"pixpro": "PixPro", "pixcontrast": "PixContrast", "pixpro_full": "full-resolution PixPro"}
MOST_CELLS = 16
"""Cells a side of the map that is drawn: more could not be told apart."""


def pretrain(config: PretrainConfig, resume: bool = False) -> RunFolder:
    """Pretrain a backbone as configured, alone or as one of the processes that torchrun started.

    The run's folder then holds ``backbone.safetensors``, which ``--backbone.weights RUN`` takes, beside checkpoints,
    metrics, pictures of the positive pairs, and the page index.html.

    Args:
        config: The run's configuration.
        resume: Continue the run `config.run` where its last checkpoint is.

    Returns:
        The run's folder, its lock given back.

    Raises:
        ConfigError: A setting is out of range or unknown, or does not go with another.
        DataError: There are no pictures, or too many cannot be read.
        CheckpointError: The weights to start from or the checkpoint to resume from do not load.
        RunError: The run's folder is in use, of another configuration or cannot be written; the training diverged.
        DependencyError: A library, the device or TensorBoard is not there.
        TrainingStopped: SIGTERM or SIGINT came; the state is saved.
    """
    check(config)
    device = resolve_device(config.device, local_rank())
    with ProcessGroup("nccl" if device.type == "cuda" else "gloo") as world:
        check_shares(config, world)
        pictures = open_pictures(config)
        views = ViewDataset(pictures, config.views, config.seed)
        method = make_method(config, device, world)
        title = RunTitle(config.method, {"dataset": " ".join(map(_called, config.data)), "method": config.method})
        with open_run(config, resume, world, title) as run:
            first = f"{TITLES[config.method]} on {len(pictures)} pictures of {' and '.join(map(_called, config.data))}"
            start = starting_point(config.weights)

            def export(step: int) -> None:
                """Write the student as a backbone that says where it comes from."""
                text = f"{first}, {step} steps of {config.optim.batch}, from {start}"
                save_backbone(method.encoder, run.path / "backbone.safetensors", text)

            batches = StepBatches(views, config.optim, world)
            signals, files = StopSignals(), digest(pictures.paths)
            trainer = Pretrainer(method, batches, config, run, files, export, world, signals)
            if world.is_main:
                cells = min(MOST_CELLS, max(1, config.views.size // method.encoder.strides[0]))
                if not (drawn := run.path / "pairs.png").exists():
                    write_pair_pictures(config, pictures, drawn, cells=cells)
                    sheet = Sheet("Positive pairs of the two views", drawn.read_bytes())
                    save_sheets(run.path, "pairs", "What is compared", [sheet])
            trainer.complete(resume, {"pictures": len(pictures)})
    return run


def make_method(config: PretrainConfig, device: torch.device, world: World) -> PixelMethod:
    """Encoder, heads and target of a configuration, the same on all processes, with shared batch statistics.

    Raises:
        ConfigError: A name is unknown.
        CheckpointError: The weights do not load.
        DependencyError: A library is not installed.
    """
    with torch_seed(config.seed, device):
        encoder = build_encoder(config.backbone, given_weights(config.weights), config.layer, config.seed)
        method = build_method(config.method, encoder, config)
    return placed(method, device, world.size)


def check_shares(config: Settings, world: World) -> None:
    """Refuse a batch that processes and parts cannot share evenly.

    Raises:
        ConfigError: `optim.batch` is no multiple of their number.
    """
    shares = config.optim.accumulate * world.size
    if config.optim.batch % shares:
        raise ConfigError(
            f"optim.batch: got {config.optim.batch}, expected a multiple of {shares} "
            f"(optim.accumulate {config.optim.accumulate} x {world.size} processes)"
        )


def digest(paths: Sequence[Path]) -> str:
    """16 hex digits over the names of pictures and of their folders, which do not change when all are moved."""
    names = "\n".join(f"{path.parent.name}/{path.name}" for path in paths)
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def _called(data: str) -> str:
    """The last part of a folder or file, without the rest of its path."""
    name, _, folder = data.rpartition(":")
    return name or Path(folder).name
