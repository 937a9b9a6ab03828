"""Random partners without replacement, for many nodes at once."""

from __future__ import annotations

import numpy as np


def draw_distinct(rng: np.random.Generator, pool: np.ndarray | int, count: np.ndarray | int, n: int) -> np.ndarray:
    """Uniform subsets: for each of n nodes, `count` distinct numbers of 0..pool-1, or all of them if there are fewer.

    Floyd's algorithm (Bentley and Floyd, 1987) run for all nodes side by side; the loop is over the slots.

    Args:
        rng: Source of randomness.
        pool: Size of each node's pool, (n,) or one number.
        count: Numbers that each node draws, (n,) or one number.
        n: Number of nodes.

    Returns:
        (n, largest count) int64; slots that a node does not fill hold -1 and come last.
    """
    if isinstance(pool, int) and isinstance(count, int):
        return _draw_alike(rng, pool, min(pool, count), n)
    pool, count = np.broadcast_to(pool, n), np.broadcast_to(count, n)
    slots = int(count.max(initial=0))
    taken = np.minimum(pool, count)
    chosen = np.full((slots, n), -1, dtype=np.int64)
    draws = rng.random((slots, n))
    for s in range(slots):
        last = pool - taken + s
        number = (draws[s] * (last + 1)).astype(np.int64)
        repeated = (chosen[:s] == number).any(axis=0)
        chosen[s] = np.where(s < taken, np.where(repeated, last, number), -1)
    return np.ascontiguousarray(chosen.T)


def _draw_alike(rng: np.random.Generator, pool: int, slots: int, n: int) -> np.ndarray:
    """`draw_distinct` where all nodes draw as many from as large a pool: the same numbers in half the time."""
    chosen = np.empty((slots, n), dtype=np.int64 if pool > 2**31 else np.int32)
    draws = rng.random((slots, n))
    repeated, equal = np.empty(n, dtype=bool), np.empty(n, dtype=bool)
    for s in range(slots):
        last = pool - slots + s
        np.multiply(draws[s], last + 1, out=draws[s])
        chosen[s] = draws[s]
        repeated.fill(False)
        for earlier in chosen[:s]:
            np.equal(earlier, chosen[s], out=equal)
            repeated |= equal
        np.copyto(chosen[s], last, where=repeated)
    return chosen.T.astype(np.int64, order="C")


def skip(numbers: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """Renumber draws from a pool without the excluded members to the whole pool, keeping -1.

    Args:
        numbers: (n, c) draws from 0..pool-e-1.
        excluded: (n, e) distinct members of 0..pool-1 that were left out of the pool, in any order.
    """
    shifted = numbers.copy()
    for member in np.sort(excluded, axis=1).T:
        shifted += shifted >= member[:, None]
    return np.where(numbers < 0, -1, shifted)


def split_counts(
    count: int, intra_ratio: float, intra_pool: np.ndarray, inter_pool: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many of a node's `count` partners lie in its own picture and how many in others.

    The share is rounded to whole edges; where one side has too few nodes (a single support picture has no other)
    the other side makes up for it.

    Args:
        count: Partners wanted.
        intra_ratio: Share in the own picture, 0..1.
        intra_pool: (n,) candidates in the own picture.
        inter_pool: (n,) candidates in the other pictures.

    Returns:
        Two arrays (n,) int64.
    """
    intra = np.minimum(int(np.floor(count * intra_ratio + 0.5)), intra_pool)
    inter = np.minimum(count - intra, inter_pool)
    return np.minimum(count - inter, intra_pool), inter
