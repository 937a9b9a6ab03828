"""A network and tasks so small that a run of the real trainer takes a fraction of a second.

Run as a program it trains in children that it forks (torch is imported once), kills and signals them, and prints what
happened as JSON; the tests read that.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pixgraph.config import Config, TrainConfig
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.errors import PixgraphError
from pixgraph.training.checkpoint import load_checkpoint
from pixgraph.training.distributed import ProcessGroup
from pixgraph.training.run import open_run
from pixgraph.training.signals import StopSignals
from pixgraph.training.trainer import Trainer

OFTEN = {"batch": 2, "save_every": 1, "val_every": 5}
ORIGIN = {"channels": [3], "backbone": {"name": "tiny", "fingerprint": "0" * 12}, "data": {"0 tiny": "abc"}}


def tiny_config(runs, run="tiny", **train):
    settings = {"steps": 12, "batch": 3, "lr": 0.01, "warmup": 2, "ema": 0.9, "val_every": 4, "save_every": 3}
    return Config(train=TrainConfig(**{**settings, **train}), device="cpu", runs=str(runs), run=run, seed=5)


def tiny_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))


def draw_task(index):
    rng = np.random.default_rng([11, index])
    rgb = torch.from_numpy(rng.random((3, 4, 4), np.float32))
    label = torch.from_numpy(rng.integers(0, 2, (4, 4)))
    return FewShotTask(1, [], [Picture(str(index), rgb, [], (4, 4), label)])


def tiny_loss(network, task, config, seed):
    query = task.query[0]
    logits = network(query.rgb.flatten(1).T)  # (16, 2)
    loss = nn.functional.cross_entropy(logits, query.label.flatten())
    return loss, {"half": loss.item() / 2}


def tiny_validate(network):
    with torch.no_grad():
        return {"miou": float(network(torch.eye(3))[:, 0].sigmoid().mean()), "episodes": 1}


def tiny_train(
    config, resume=False, loss=tiny_loss, validate=tiny_validate, network=None, origin=ORIGIN, draw=draw_task
):
    signals = StopSignals()
    network = tiny_network() if network is None else network
    with ProcessGroup() as world, open_run(config, resume, world) as run:
        trainer = Trainer(network, loss, draw, validate, config, run, world, signals, origin)
        if resume:
            trainer.resume()
        with signals:
            trainer.fit()
    return trainer


def outcome(folder):
    """What must not depend on interruptions: the last checkpoint without its times, and the metrics without theirs."""
    state = load_checkpoint(Path(folder) / "checkpoints" / "last.pt")
    lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    for values in (state, *lines):
        values.pop("seconds", None)
    for key in ("runs", "run"):
        state["config"].pop(key)
    return state, lines


def same(a, b):
    """Equal to the bit, through dictionaries, lists and tensors."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def fork(function, **environment):
    """Start `function` in a forked child; its exit code is that of a program that ends with the same exception."""
    child = os.fork()
    if child:
        return child
    code = None
    try:
        os.environ.update(environment)
        function()
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except PixgraphError as error:
        sys.stderr.write(f"{error}\n")
        code = 2
    finally:  # a child must never return into the parent's code
        if code is None:
            traceback.print_exc()
        os._exit(1 if code is None else code)


def exit_code(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_repeatedly(runs, seed, steps, kills):
    """Kill -9 a training at random moments, resuming it each time; after each kill the checkpoint must load."""
    config = tiny_config(runs, "killed", steps=steps, **OFTEN)
    chance, path = random.Random(seed), Path(runs) / "killed"

    def waits_in_the_last_step(network, task, config, seed):  # so that no training ends before its kill
        time.sleep(60 if int(task.query[0].key) >= (steps - 1) * config.train.batch else 0.002)
        return tiny_loss(network, task, config, seed)

    codes = []
    for left in reversed(range(kills + 1)):
        resume = (path / "config.yaml").exists()
        loss = waits_in_the_last_step if left else tiny_loss
        child = fork(lambda resume=resume, loss=loss: tiny_train(config, resume, loss=loss))
        if left:
            time.sleep(chance.uniform(0.0, 0.2))
            os.kill(child, signal.SIGKILL)
        codes.append(exit_code(child))
        if (path / "checkpoints" / "last.pt").exists():
            load_checkpoint(path / "checkpoints" / "last.pt")
    return {"codes": codes, "debris": [p.name for p in path.rglob("*.tmp")]}


def stop_by(number, runs, twice=False):
    """Send a signal in the middle of a step; a second one while the first is being obeyed. Resume unless sent twice."""
    name = f"stopped-{number}-{twice}"
    reached = Path(runs) / f"{name}.reached"
    config = tiny_config(runs, name)

    def linger():
        reached.touch()
        for _ in range(100 if twice else 30):  # sleeps end early when a signal comes
            time.sleep(0.01)

    def loss(network, task, config, seed):
        if task.query[0].key == "7":  # third episode of step 2
            linger()
        return tiny_loss(network, task, config, seed)

    started = time.monotonic()
    child = fork(lambda: tiny_train(config, loss=loss))
    while not reached.exists():
        time.sleep(0.001)
    os.kill(child, number)
    if twice:
        time.sleep(0.05)
        os.kill(child, number)
    code, sent = exit_code(child), time.monotonic() - started
    last = Path(runs) / name / "checkpoints" / "last.pt"
    step = load_checkpoint(last)["step"] if last.exists() else None
    summary = json.loads((Path(runs) / name / "summary.json").read_text())
    if not twice:
        exit_code(fork(lambda: tiny_train(config, resume=True)))
    return {"code": code, "step": step, "state": summary["state"], "seconds": sent}


def two_processes(runs, signalled=None):
    """The same training on two gloo processes; with `signalled`, only that rank gets a SIGTERM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    name = "two" if signalled is None else f"two-stopped-{signalled}"
    config = tiny_config(runs, name, steps=12 if signalled is None else 2000)
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = [fork(lambda: tiny_train(config), RANK=str(r), LOCAL_RANK=str(r), **world) for r in range(2)]
    if signalled is not None:
        while not (Path(runs) / name / "checkpoints" / "last.pt").exists():
            time.sleep(0.005)
        os.kill(children[signalled], signal.SIGTERM)
    return [exit_code(child) for child in children]


def main(runs, steps, kills, seed):
    torch.set_num_threads(1)
    tiny_train(tiny_config(runs, "whole"))
    tiny_train(tiny_config(runs, "often", steps=steps, **OFTEN))
    report = {
        "killed": kill_repeatedly(runs, seed, steps, kills),
        "sigterm": stop_by(signal.SIGTERM, runs),
        "sigint": stop_by(signal.SIGINT, runs),
        "twice": stop_by(signal.SIGTERM, runs, twice=True),
        "two": two_processes(runs),
        "two_stopped": two_processes(runs, signalled=1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
