"""Blocks of rows shared among threads, each of which computes alone.

A search alternates between short matrix products and short selections, by libraries that keep threads of their own.
Were each call spread over all cores, they would wait for one another hundreds of times; a block a thread never waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")

_ONE_AT_A_TIME = threading.Lock()  # two callers would restore each other's number of threads


def map_blocks(work: Callable[[slice], T], rows: int, block: int) -> Sequence[T]:
    """Results of `work` for consecutive blocks of rows, in order, by as many threads as torch uses.

    Meanwhile torch computes with one thread in the whole process; afterwards with as many as before.

    Args:
        work: Called with the slice of each block.
        rows: Number of rows.
        block: Most rows in a block; fewer, when there would be less than one block a thread.

    Example:
        >>> map_blocks(lambda rows: (rows.start, rows.stop), 5, 2)
        [(0, 2), (2, 4), (4, 5)]
    """
    threads = torch.get_num_threads()
    block = max(1, min(block, -(-rows // threads)))
    parts = [slice(start, min(start + block, rows)) for start in range(0, rows, block)]
    if threads == 1 or len(parts) < 2:
        return [work(part) for part in parts]
    with _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(work, parts))
        finally:
            torch.set_num_threads(threads)
