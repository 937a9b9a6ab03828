"""A pretraining of a tiny CNN on generated pictures, and a program that kills, resumes and doubles it.

As a program it trains in children that it forks (torch is imported once) and prints what happened as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny_encoder import TinyEncoder

from pixgraph.pretrain.batches import StepBatches
from pixgraph.pretrain.config import OptimConfig, PixelConfig, PretrainConfig, ViewConfig
from pixgraph.pretrain.methods import build_method
from pixgraph.pretrain.pictures import Pictures, find_pictures
from pixgraph.pretrain.run import check_shares, digest
from pixgraph.pretrain.shared_norm import share_batch_norm
from pixgraph.pretrain.trainer import Pretrainer
from pixgraph.pretrain.views import ViewDataset
from pixgraph.training.checkpoint import load_checkpoint
from pixgraph.training.distributed import ProcessGroup
from pixgraph.training.run import RunTitle, open_run
from pixgraph.training.signals import StopSignals

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from tiny_training import exit_code, fork, outcome

STEPS = 6


def write_pictures(folder, count=9, side=24):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (side, side + i, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def tiny_config(root, run="tiny", method="pixpro", **optim):
    settings = {
        "steps": STEPS,
        "batch": 4,
        "lr": 0.05,
        "warmup": 2,
        "log_every": 2,
        "save_every": 2,
        "optimizer": "sgd",
    }
    return PretrainConfig(
        method,
        [str(root / "pictures")],
        views=ViewConfig(size=16, area=[0.3, 1.0]),
        pixel=PixelConfig(projection=5, hidden=7),
        optim=OptimConfig(**{**settings, **optim}),
        seed=3,
        device="cpu",
        runs=str(root / "runs"),
        run=run,
    )


def tiny_method(config):
    torch.manual_seed(config.seed)
    return build_method(config.method, TinyEncoder(4), config)


def tiny_pretrain(config, resume=False, export=lambda step: None, method=None, validate=None):
    signals = StopSignals()
    with ProcessGroup() as world:
        check_shares(config, world)
        paths = find_pictures(config.data)
        method = tiny_method(config) if method is None else method
        if world.size > 1:
            share_batch_norm(method)
        views = ViewDataset(Pictures(paths, config.broken_limit), config.views, config.seed)
        with open_run(config, resume, world, RunTitle(config.method, {"method": config.method})) as run:
            batches = StepBatches(views, config.optim, world)
            trainer = Pretrainer(method, batches, config, run, digest(paths), export, world, signals, validate)
            if resume:
                trainer.resume()
            with signals:
                trainer.fit()
    return trainer


def kill_and_resume(root):
    """Kill -9 a training in its fourth step, after two saves, and once before the first one; then let it end."""

    def die(at):
        def export(step):
            if step == at:
                os.kill(os.getpid(), signal.SIGKILL)

        return export

    config = tiny_config(root, "killed", save_every=1)
    codes = [exit_code(fork(lambda: tiny_pretrain(config, export=die(1))))]
    codes.append(exit_code(fork(lambda: tiny_pretrain(config, resume=True, export=die(4)))))
    codes.append(exit_code(fork(lambda: tiny_pretrain(config, resume=True))))
    return codes


def stop_and_resume(root):
    """SIGTERM in the middle of the training; then let it end."""
    config = tiny_config(root, "stopped", steps=STEPS, save_every=100)
    reached = root / "reached"

    class Slow(Pretrainer):
        def train_step(self):
            reached.touch()
            time.sleep(0.2)
            return super().train_step()

    def train_slowly():
        globals()["Pretrainer"] = Slow
        tiny_pretrain(config)

    child = fork(train_slowly)
    while not reached.exists():
        time.sleep(0.001)
    os.kill(child, signal.SIGTERM)
    code = exit_code(child)
    step = load_checkpoint(root / "runs" / "stopped" / "checkpoints" / "last.pt")["step"]
    exit_code(fork(lambda: tiny_pretrain(config, resume=True)))
    return {"code": code, "step": step}


def two_processes(root):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    config = tiny_config(root, "two", save_every=1)
    children = [fork(lambda: tiny_pretrain(config), RANK=str(r), LOCAL_RANK=str(r), **world) for r in range(2)]
    return [exit_code(child) for child in children]


def main(root):
    torch.set_num_threads(1)
    root = Path(root)
    write_pictures(root / "pictures")
    tiny_pretrain(tiny_config(root, "whole", save_every=1))
    report = {"killed": kill_and_resume(root), "stopped": stop_and_resume(root), "two": two_processes(root)}
    print(json.dumps(report))


__all__ = ["outcome"]

if __name__ == "__main__":
    main(sys.argv[1])
