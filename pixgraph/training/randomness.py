"""Random numbers of training as functions of (seed, episode): the same in any process, order or resumed run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

# Independent streams of one episode; the sampler of its pictures has [seed, index] itself.
_SEED, _SOURCE = 1, 2


def episode_seed(seed: int, index: int) -> int:
    """Seed in 0 .. 2^31 - 1 of all that is random inside episode `index`: nodes, edges, augmentation, dropout."""
    return int(np.random.default_rng([seed, index, _SEED]).integers(2**31))


def source_generator(seed: int, index: int) -> np.random.Generator:
    """Generator that picks the data set of episode `index`."""
    return np.random.default_rng([seed, index, _SOURCE])


@contextmanager
def torch_seed(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's generators, which dropout and initialisation read, and give them back as they were.

    Args:
        seed: Their seed inside the block.
        device: A CUDA device's generator is saved as well.
    """
    device = torch.device(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        # Not torch.manual_seed: without CUDA it keeps a stack trace of each call for later, which takes a millisecond.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield
