"""What `speed_graph.py` builds: the settings, generated pictures, and pixgraph's own way to build them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any

import torch
import torch.nn.functional as F

from pixgraph.config import GraphConfig
from pixgraph.data.picture import FewShotTask, Picture
from pixgraph.graph.support import SupportPart, support_part
from pixgraph.graph.task import attach_queries, task_graph

LEVELS = ((24, 4), (32, 8), (64, 16), (96, 16), (160, 32), (320, 32))
"""Channels and stride of the feature maps: those of MobileNetV2."""

Builder = Callable[[Picture], Any]


@dataclass(frozen=True)
class Case:
    """A task graph to build.

    Attributes:
        side: Pixels a side of the query; each is a node.
        dilations: Of its lattice.
        drawn: Random support edges a query node.
        nearest: Nearest support edges a query node.
        block: `knn_block` of pixgraph: 1 for the exact ones. The others search exactly.
        shots: Support pictures; 0 for the bare lattice of one dilation.
    """

    side: int
    dilations: tuple[int, ...] = (1, 2, 4)
    drawn: int = 8
    nearest: int = 0
    block: int = 1
    shots: int = 5

    @property
    def config(self) -> GraphConfig:
        """512 nodes a support."""
        return GraphConfig(
            stride=1,
            num_fg=256,
            num_bg=256,
            dilations=list(self.dilations),
            query_support_random=self.drawn,
            query_support_knn=self.nearest,
            knn_block=self.block,
        )


def picture(seed: int, side: int, label: bool = False) -> Picture:
    """A generated picture whose features are as smooth as those of a CNN: noise, averaged over 3 x 3 cells."""
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(1, c, max(side // s, 2), max(side // s, 2), generator=generator) for c, s in LEVELS]
    features = [F.avg_pool2d(m, 3, 1, 1)[0] for m in maps]
    rgb = torch.rand(3, side, side, generator=generator)
    mask = None
    if label:
        mask = torch.zeros(side, side, dtype=torch.int64)
        mask[side // 4 : 3 * side // 4, side // 5 : 4 * side // 5] = 1
    return Picture(f"generated-{seed}", rgb, features, (side, side), mask)


@cache
def supports(shots: int) -> list[Picture]:
    """Labelled pictures of 256 x 256 pixels, the same for all cases."""
    return [picture(i, 256, label=True) for i in range(shots)]


@dataclass
class Scene:
    """The supports of a case, known to all builders, and new pictures for them.

    Attributes:
        case: What is built.
        pictures: Taken in turn.
    """

    case: Case
    pictures: list[Picture] = field(init=False)

    def __post_init__(self) -> None:
        self.pictures = [picture(100 + i, self.case.side) for i in range(3 if self.case.side <= 512 else 1)]

    @cached_property
    def supports(self) -> list[Picture]:
        """Labelled pictures; one, of which next to nothing is taken, for the bare lattice."""
        return supports(max(self.case.shots, 1))

    @cached_property
    def part(self) -> SupportPart:
        """The supports in pixgraph's own form of the supports, which all builders take their nodes and edges from."""
        config = self.case.config
        return support_part(self.supports, config if self.case.shots else replace(config, num_fg=1, num_bg=1))

    def node_vectors(self, query: Picture) -> torch.Tensor:
        """(h * w, d) vectors in which neighbours are searched; the same for all builders, and part of their time."""
        assert self.part.space is not None
        side = self.case.side
        place = torch.linspace(0, 1, side)
        xy = torch.stack([place.repeat(side), place.repeat_interleave(side)], dim=1)
        return self.part.space.grid(query, side, side, xy)


def pixgraph_builder(scene: Scene) -> Builder:
    """A query attached to supports that are known."""
    part, with_supports = scene.part, scene.case.shots > 0
    return lambda query: attach_queries(part, [query], support_edges=with_supports)


def whole_task_builder(scene: Scene) -> Builder:
    """Supports and query from the beginning."""
    config, known = scene.case.config, scene.supports
    return lambda query: task_graph(FewShotTask(1, known, [query]), config)
