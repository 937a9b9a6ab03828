"""Sums of integers over the processes of a torchrun job, and what this process is in it."""

from __future__ import annotations

import sys

import numpy as np
import torch
import torch.distributed as dist


def shard() -> tuple[int, int]:
    """Rank of this process and number of processes; (0, 1) outside a distributed job."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_ranks(values: np.ndarray) -> np.ndarray:
    """Elementwise sum of an int64 array over all processes; integers, so the order of summation does not show."""
    return _reduce(values, maximum=False)


def max_over_ranks(values: np.ndarray) -> np.ndarray:
    """Elementwise maximum of an int64 array over all processes."""
    return _reduce(values, maximum=True)


def _reduce(values: np.ndarray, maximum: bool) -> np.ndarray:
    if shard()[1] == 1:
        return values
    # NCCL reduces tensors on a GPU only.
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64).copy()).to(device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX if maximum else dist.ReduceOp.SUM)
    return tensor.cpu().numpy()


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux
