"""The batches of a training as a stream: step by step, part by part, decoded here or by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset

from pixgraph.pretrain.config import OptimConfig
from pixgraph.pretrain.worker_errors import one_line
from pixgraph.training.distributed import World


class BatchSource(Protocol):
    """What gives the pictures of a step: `pixgraph.pretrain.views.ViewDataset`, `LabelledSource` and others."""

    def batch(self, step: int, batch_size: int, positions: range) -> Any:
        """The views at some positions of a step's batch: a pure function."""


class StepBatches(Dataset[Any]):
    """Item i is part i % A of step start + i // A, of which this process takes its share of positions.

    Args:
        source: Gives the views.
        config: `batch` pictures a step in A = `accumulate` parts.
        world: The processes; each takes as many consecutive pictures of every part.
        start: First step.
    """

    def __init__(self, source: BatchSource, config: OptimConfig, world: World, start: int = 0) -> None:
        self.source, self.config, self.world, self.start = source, config, world, start
        self.share = config.batch // (config.accumulate * world.size)

    def __len__(self) -> int:
        return (self.config.steps - self.start) * self.config.accumulate

    def __getitem__(self, item: int) -> Any:
        step, part = self.start + item // self.config.accumulate, item % self.config.accumulate
        first = (part * self.world.size + self.world.rank) * self.share
        return self.source.batch(step, self.config.batch, range(first, first + self.share))


def stream(batches: StepBatches, workers: int) -> Iterator[Any]:
    """All items in order; worker processes, if any, prepare the next ones meanwhile.

    Raises:
        PixgraphError: What `batches` raises, in a worker too.
    """
    with one_line():
        yield from DataLoader(batches, batch_size=None, num_workers=workers)
