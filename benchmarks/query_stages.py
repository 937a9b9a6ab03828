"""One setting of `speed_query.py`, measured in the process that runs this."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from workbench import backbone_config

from pixgraph.backbones.build import build_backbone
from pixgraph.backbones.cnn import LEVELS, levels_up_to, load_torchvision
from pixgraph.backbones.features import FeatureStore
from pixgraph.config import BackboneConfig, GraphConfig, ModelConfig
from pixgraph.data.images import load_image, resize_mask
from pixgraph.data.picture import FewShotTask
from pixgraph.data.synthetic import SyntheticShapes
from pixgraph.evaluation.scoring import resize_labels
from pixgraph.graph.support import support_part
from pixgraph.graph.task import attach_queries
from pixgraph.models.network import PixGraphNet
from pixgraph.models.predictor import GraphPredictor, class_probabilities
from pixgraph.models.propagate import PropagatePredictor
from pixgraph.training.checkpoint import load_network
from pixgraph.training.device import resolve_device

WARM_UP = 2


class Stopwatch:
    """Seconds by name, of the round that is running; a GPU has finished whenever the clock is read.

    Args:
        device: Where the work is done.

    Attributes:
        seconds: Name to seconds.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.seconds: dict[str, float] = {}
        self._on_gpu = torch.device(device).type == "cuda"

    def now(self) -> float:
        """Seconds of a clock, after everything that was asked of the device."""
        if self._on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Do the work and add its time to `name`."""
        begin = self.now()
        result = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - begin
        return result

    def watch(self, module: nn.Module, name: str) -> None:
        """Add the time of every forward pass of `module` to `name`."""
        begin = [0.0]
        module.register_forward_pre_hook(lambda *_: begin.__setitem__(0, self.now()))
        module.register_forward_hook(
            lambda *_: self.seconds.__setitem__(name, self.seconds.get(name, 0.0) + self.now() - begin[0])
        )


class Query:
    """A photograph on disk, its supports, and a method.

    Args:
        args: Arguments of `speed_query.py`.
        folder: Where the photograph is written.
    """

    def __init__(self, args: argparse.Namespace, folder: str) -> None:
        from PIL import Image

        torch.manual_seed(0)
        self.size, self.method, self.device = args.size, args.child, resolve_device(args.device)
        self.backbone = config = backbone_config(args)
        # Nothing is kept in memory: every query meets the backbone.
        self.store = FeatureStore(build_backbone(config), config.size, None, self.device, memory=0)
        query, supports = photographs(args.size, args.supports)
        self.path = Path(folder) / "query.jpg"
        Image.fromarray(query).save(self.path, quality=90)
        self.support = []
        for rgb, mask in supports:
            label = resize_mask(mask, (args.size, args.size))
            picture = self.store.from_image(rgb)
            self.support.append(replace(picture, label=torch.from_numpy(label.astype(np.int64)).to(self.device)))
        with torch.no_grad():
            self.learn(args)

    def learn(self, args: argparse.Namespace) -> None:
        """The method, and what it needs of the supports for any query."""
        trained = None if args.run is None else load_network(args.run)
        self.config = replace(trained.config.graph if trained else GraphConfig(), stride=args.strides[0])
        channels = self.store.backbone.channels
        self.network = (
            trained.network if trained else PixGraphNet(channels, ModelConfig(), self.store.backbone.strides).eval()
        )
        self.network.to(self.device)
        self.predictor = self.new_predictor()
        self.part = support_part(self.support, self.config, 0)
        self.memory = self.network.remember(self.part.graph(), FewShotTask(1, self.support, []))

    def new_predictor(self) -> GraphPredictor | PropagatePredictor:
        """The method without anything remembered of the supports."""
        if self.method == "graph":
            return GraphPredictor(self.network, self.config)
        return PropagatePredictor(self.config)

    @torch.inference_mode()
    def whole(self) -> np.ndarray:
        """File to mask through the classes that `pixgraph predict` uses."""
        rgb = load_image(self.path)
        task = FewShotTask(1, self.support, [self.store.from_image(rgb)])
        return resize_labels(self.predictor.predict(task)[0], rgb.shape[:2])

    @torch.inference_mode()
    def staged(self, clock: Stopwatch) -> np.ndarray:
        """The same, each stage timed; the parts inside the network and the backbone by `watched`."""
        rgb = clock("decode", lambda: load_image(self.path))
        query = clock("prepare", lambda: self.store.from_image(rgb))
        task = FewShotTask(1, self.support, [query])
        if self.method == "propagate":
            probabilities = clock("evidence, graph and diffusion", lambda: self.predictor.predict(task)[0])
        else:
            graph = clock("graph", lambda: attach_queries(self.part, [query], support_edges=False))
            output = clock("network, rest", lambda: self.network(graph, task, self.memory))
            probabilities = clock("resize", lambda: class_probabilities(output.logits[0], query.rgb.shape[-2:]))
        return clock("resize", lambda: resize_labels(probabilities, rgb.shape[:2]))

    @cached_property
    def plain(self) -> nn.Module:
        """The network as torchvision has it, or the backbone itself where it is not torchvision's."""
        known = self.backbone.name in LEVELS
        return plain_network(self.backbone).to(self.device) if known else self.store.backbone

    @torch.inference_mode()
    def peer(self, clock: Stopwatch) -> None:
        """The forward pass of the network as torchvision has it, timed."""
        x = torch.rand(1, 3, self.size, self.size, device=self.device)
        clock("torchvision's forward pass", lambda: self.plain(x))


def plain_network(config: BackboneConfig) -> nn.Module:
    """Torchvision's network up to the last level used, as torchvision runs it."""
    from torchvision.models.feature_extraction import create_feature_extractor

    network, _, layer = load_torchvision(config.name, config.weights)
    levels = LEVELS[config.name] if layer is None else levels_up_to(network, config.name, layer)
    return create_feature_extractor(network.eval(), list(levels))


def photographs(size: int, supports: int) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """A generated query and labelled pictures of its class; where there are too few, some come again mirrored.

    Args:
        size: Side in pixels.
        supports: How many labelled pictures.

    Returns:
        (S, S, 3) uint8, and for each support the same with its mask (S, S) uint8 of 0 and 1.
    """
    dataset = SyntheticShapes("test", size=size, n_pictures=24)
    enough = min(supports, max(len(found) for found in dataset.areas.values()) - 1)
    c, found = next((c, found) for c, found in dataset.areas.items() if len(found) > enough)
    query, *others = sorted(found)
    pairs = [(dataset.read_image(i), (dataset.read_mask(i) == c).astype(np.uint8)) for i in others[:supports]]
    mirrored = [(np.flip(x, axes), np.flip(y, axes)) for axes in ((), (0,), (1,), (0, 1)) for x, y in pairs]
    return dataset.read_image(query), [mirrored[i % len(mirrored)] for i in range(supports)]


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of every round, and memory, of one method at one stride."""
    with tempfile.TemporaryDirectory() as folder:
        query = Query(args, folder)
        before, first = resident("VmRSS"), first_queries(query, args.rounds)
        clock = watched(query)
        rounds, whole, plain = [], [], []
        for i in range(args.rounds + WARM_UP):
            clock.seconds = {}
            answer = query.staged(clock)
            stages = exclusive(clock.seconds)
            begin = time.perf_counter()
            same = query.whole()
            seconds = time.perf_counter() - begin
            query.peer(clock)
            if i >= WARM_UP:
                plain.append(clock.seconds["torchvision's forward pass"])
                rounds.append(stages)
                whole.append(seconds)
        if not np.array_equal(answer, same):
            raise RuntimeError("the stages give another mask than the predictor: this script is out of date")
        graph = attach_queries(query.part, [query.store.from_image(load_image(query.path))])
    return {
        "method": args.child,
        "stride": args.strides[0],
        "size": args.size,
        "supports": args.supports,
        "backbone": query.store.backbone.name,
        "threads": torch.get_num_threads(),
        "device": str(query.device),
        "stages": {name: [stages[name] for stages in rounds] for name in rounds[0]},
        "beyond": [sum(stages.values()) - stages["backbone"] for stages in rounds],
        "whole": whole,
        "first_query": first,
        "peer": plain,
        "nodes": graph.num_nodes(),
        "edges": graph.num_edges(),
        "memory_before_mb": before,
        "peak_memory_mb": resident("VmHWM"),
    }


def resident(entry: str) -> float:
    """Resident memory of this process in MB: ``"VmRSS"`` now, ``"VmHWM"`` at its peak."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith(entry))
        return round(int(line.split()[1]) / 1024, 1)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 1024), 1)


def watched(query: Query) -> Stopwatch:
    """A clock for the stages of the query; those inside the backbone and the network by hooks, or around a method."""
    clock = Stopwatch(query.device)
    clock.watch(query.store.backbone, "backbone")
    if query.method == "graph":
        network = query.network
        clock.watch(network.level_evidence, "evidence")
        clock.watch(network.metric_evidence, "evidence")
        for block in (*network.encoder, *network.decoder):
            clock.watch(block, "GNN")
        if network.pyramid is not None:
            clock.watch(network.pyramid, "pyramid")
        clock.watch(network.upsample, "upsample")
        refine = network.refined
        vars(network)["refined"] = lambda *given: clock("refinement", lambda: refine(*given))
    return clock


def exclusive(seconds: dict[str, float]) -> dict[str, float]:
    """Stages that do not contain one another, in the order in which they run."""
    found = dict(seconds)
    found["prepare"] -= found["backbone"]
    if "network, rest" in found:
        inside = ("evidence", "pyramid", "GNN", "refinement", "upsample")
        found["network, rest"] -= sum(found.get(name, 0) for name in inside)
    dense = ("4-D correlation", "4-D convolutions")
    network = ("graph", "evidence", "pyramid", "GNN", *dense, "refinement", "upsample", "network, rest")
    order = ("decode", "prepare", "backbone", *network, "evidence, graph and diffusion", "resize")
    return {name: found[name] for name in order if name in found}


def first_queries(query: Query, rounds: int) -> list[float]:
    """Seconds of the first query of a set of supports, file to mask, which also learns the supports; features known."""
    clock = Stopwatch(query.device)
    found = []
    for _ in range(rounds):
        clock.seconds, query.predictor = {}, query.new_predictor()
        clock("first", query.whole)
        found.append(clock.seconds["first"])
    return found
