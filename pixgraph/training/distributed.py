"""One process or many, the same numbers: what `torchrun` starts, this joins; without it every call is a no-op."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from pixgraph.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes of one training or evaluation.

    Attributes:
        rank: Position of this process, 0 .. size - 1; only rank 0 writes files.
        size: Number of processes.
        local_rank: Position among the processes of this machine; picks the GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of `items`: positions rank, rank + size, rank + 2 size, ..."""
        return items[self.rank :: self.size]

    def gather(self, value: T) -> list[T]:
        """The `value` of every process, by rank, on every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over the processes; a parameter that no process used keeps none.

        One message carries all gradients (flattened, float32) and a flag for each parameter.
        """
        if self.size == 1:
            return
        used = [p for p in parameters if p.requires_grad]
        if not used:
            return
        pieces = [p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1) for p in used]
        flags = used[0].new_tensor([p.grad is not None for p in used])
        flat = torch.cat([piece.float() for piece in pieces] + [flags.float()])
        dist.all_reduce(flat)
        *sums, seen = flat.split([p.numel() for p in used] + [len(used)])
        for p, total, flag in zip(used, sums, seen.tolist(), strict=True):
            p.grad = total.reshape(p.shape).to(p.dtype) if flag else None

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()


class ProcessGroup:
    """Joins the processes that `torchrun` started, for the length of a ``with`` block; alone, it gives a world of one.

    A process group that the caller has already made is used as it is and left open: a program that trains several times
    under torchrun makes one around all of them, for torch cannot reliably make a second one from the same store.

    Args:
        backend: ``"nccl"`` when the processes compute on CUDA devices, else ``"gloo"``.

    Raises:
        ConfigError: torchrun's environment is incomplete.
    """

    def __init__(self, backend: str = "gloo") -> None:
        self._backend = backend
        self._owner = False

    def __enter__(self) -> World:
        if dist.is_available() and dist.is_initialized():
            return World(dist.get_rank(), dist.get_world_size(), local_rank())
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return World()
        missing = [key for key in ("RANK", "MASTER_ADDR", "MASTER_PORT") if key not in os.environ]
        if missing:
            raise ConfigError(f"WORLD_SIZE is set but {', '.join(missing)} is not; start processes with torchrun")
        if self._backend == "nccl":
            torch.cuda.set_device(local_rank() % torch.cuda.device_count())
        dist.init_process_group(self._backend)
        self._owner = True
        return World(dist.get_rank(), dist.get_world_size(), local_rank())

    def __exit__(self, *error: object) -> None:
        # After an error the others may be stuck in a message: leaving at once lets torchrun end them.
        if self._owner and (error[0] is None or issubclass(error[0], SystemExit)):  # type: ignore[arg-type]
            dist.destroy_process_group()


def local_rank() -> int:
    """Position of this process on its machine as torchrun tells it; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))
