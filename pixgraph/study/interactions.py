"""Pairs of factors whose joint effect is more than the sum of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pixgraph.study.trials import Row

PERMUTATIONS = 400


@dataclass(frozen=True)
class Interaction:
    """A pair of factors.

    Attributes:
        first: Name of a factor.
        second: Name of another.
        gain: Share of the variance of mIoU over the trials that the pair explains beyond all main effects, 0..1.
        noise: The 95 % quantile of the same number where there is no interaction.
        p: How often chance gives the best of all pairs at least this statistic: corrected for the number of pairs.
    """

    first: str
    second: str
    gain: float
    noise: float
    p: float


def interactions(rows: Sequence[Row], seed: int = 0) -> list[Interaction]:
    """All pairs of factors of random trials, the surest first; empty where there are too few trials.

    mIoU is regressed on main effects: for numbers the rank of the value and its square, for names one column each. A
    pair adds the products of both factors' columns (of numbers, the ranks alone). Its statistic is the sum of squares
    that these explain of the residuals, over their number; its null distribution comes from permuted residuals
    (Freedman and Lane, 1983), and p from the largest statistic of each permutation.

    Args:
        rows: Complete trials with the same factors.
        seed: Seed of the permutations.
    """
    done = [r for r in rows if r.state == "complete" and r.miou is not None]
    names = [n for n in (done[0].values if done else ()) if len({r.values.get(n) for r in done}) > 1]
    y = np.array([r.miou for r in done], np.float64)
    if not names or np.ptp(y) == 0:
        return []
    coded = {n: _coded([r.values.get(n, "-") for r in done]) for n in names}
    main = _basis(np.concatenate([np.ones((len(y), 1)), *(np.concatenate(coded[n], 1) for n in names)], 1))
    if len(y) - main.shape[1] < 10:
        return []
    residual = y - main @ (main.T @ y)
    rng = np.random.default_rng(seed)
    shuffled = np.stack([rng.permutation(residual) for _ in range(PERMUTATIONS)], 1)  # (T, P)
    shuffled -= main @ (main.T @ shuffled)
    found, statistics, nulls = [], [], []
    for a, b in combinations(names, 2):
        product = (coded[a][0][:, :, None] * coded[b][0][:, None, :]).reshape(len(y), -1)
        basis = _basis(product - main @ (main.T @ product))
        if not basis.shape[1]:
            continue
        explained, null = ((basis.T @ x) ** 2 for x in (residual, shuffled))
        total = ((y - y.mean()) ** 2).sum()
        found.append((a, b, explained.sum() / total, float(np.quantile(null.sum(0), 0.95) / total)))
        statistics.append(explained.sum() / basis.shape[1] / max((residual**2).sum(), 1e-300))
        nulls.append(null.sum(0) / basis.shape[1] / np.maximum((shuffled**2).sum(0), 1e-300))
    if not found:
        return []
    largest = np.max(nulls, 0)  # (P,)
    made = [
        Interaction(a, b, float(gain), noise, float((1 + (largest >= s).sum()) / (1 + PERMUTATIONS)))
        for (a, b, gain, noise), s in zip(found, statistics, strict=True)
    ]
    return sorted(made, key=lambda i: (i.p, -i.gain))


def _coded(values: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Columns of a factor that take part in products, and further ones of its main effect: (T, c) and (T, d)."""
    levels = sorted(set(values))
    try:
        rank = np.array([sorted({float(v) for v in levels}).index(float(v)) for v in values], np.float64)
    except ValueError:
        one_hot = np.array([[v == level for level in levels[1:]] for v in values], np.float64)
        return one_hot - one_hot.mean(0), np.empty((len(values), 0))
    rank = ((rank - rank.mean()) / max(rank.std(), 1e-12))[:, None]
    square = rank**2
    return rank, (square - square.mean()) if len(levels) > 2 else np.empty((len(values), 0))


def _basis(columns: np.ndarray) -> np.ndarray:
    """Orthonormal columns (T, r) that span those given."""
    u, s, _ = np.linalg.svd(columns, full_matrices=False)
    return u[:, s > 1e-8 * max(1.0, s.max(initial=0.0))]
