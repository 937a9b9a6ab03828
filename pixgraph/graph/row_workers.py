"""Work shared among threads each of which computes alone.

A search alternates between short matrix products and short selections, by libraries that keep threads of their own.
Were each call spread over all cores, the threads of one library would wait, and keep a core busy with waiting, while
those of the next one need it, hundreds of times. A block of rows a thread never waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")

_ONE_AT_A_TIME = threading.Lock()  # two callers would restore each other's number of threads
_granted = threading.local()


def worker_threads() -> int:
    """Threads that a search may start: as many as torch uses outside of `calls_on_one_thread`."""
    return getattr(_granted, "threads", None) or torch.get_num_threads()


@contextmanager
def calls_on_one_thread() -> Iterator[None]:
    """Let torch compute with one thread in the whole process, and afterwards with as many as before."""
    threads = torch.get_num_threads()
    # Inside of another one, too, where FAISS may have changed what torch says: the lock is taken already.
    if threads == 1 or getattr(_granted, "threads", None):
        yield
        return
    with _ONE_AT_A_TIME:
        _granted.threads = threads
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            _granted.threads = None


@contextmanager
def calls_on_all_threads() -> Iterator[int]:
    """Inside of `calls_on_one_thread`, let torch use as many threads as before; gives their number."""
    threads, before = worker_threads(), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield threads
    finally:
        torch.set_num_threads(before)


def map_blocks(work: Callable[[slice], T], rows: int, block: int, threads: int | None = None) -> Sequence[T]:
    """Results of `work` for consecutive blocks of rows, in order, each by one of several threads.

    Args:
        work: Called with the slice of each block.
        rows: Number of rows.
        block: Most rows in a block; fewer, when there would be less than one block a thread.
        threads: How many; `worker_threads` when `None`.

    Example:
        >>> map_blocks(lambda rows: (rows.start, rows.stop), 5, 2)
        [(0, 2), (2, 4), (4, 5)]
    """
    threads = threads or worker_threads()
    block = max(1, min(block, -(-rows // threads)))
    parts = [slice(start, min(start + block, rows)) for start in range(0, rows, block)]
    if threads == 1 or len(parts) < 2:
        return [work(part) for part in parts]
    with calls_on_one_thread(), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))
