"""Retrieval: for a pixel or a segment, the pictures of a whole data set that show the most similar one.

Every other picture enters with its best units only (one, by default): the neighbours of a hit within its picture are
the same thing once more. Pictures are searched one after another by FAISS, exactly, and their best are merged, so that
memory does not grow with the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pixgraph.data.base import IGNORE
from pixgraph.evaluation.metrics import ratios
from pixgraph.graph.faiss_backend import load_faiss
from pixgraph.probe.units import Units

UnitsOf = Callable[[int], Units]
"""Number of a picture to its units."""


@dataclass(frozen=True)
class Query:
    """A unit that asks.

    Attributes:
        picture: Number of its picture.
        unit: Number of the unit there.
        kind: Its class; `None` without masks.
    """

    picture: int
    unit: int
    kind: int | None


@dataclass(frozen=True)
class Hits:
    """The answers to all queries, the most similar first.

    Attributes:
        similarity: (Q, k) float32, cosine; -inf where there are fewer pictures than k.
        picture: (Q, k) int64, -1 where there is none.
        unit: (Q, k) int64, number of the unit in that picture.
        kind: (Q, k) int64, its class, 255 where it is unknown or there is no mask.
        searched: (256,) int64, units of each class among all that were searched.
    """

    similarity: np.ndarray
    picture: np.ndarray
    unit: np.ndarray
    kind: np.ndarray
    searched: np.ndarray

    def chance(self, kind: int) -> float:
        """Share of a class among the searched units of known class: the hit rate of answers drawn at random."""
        return float(ratios(self.searched[kind], self.searched.sum()))


def draw_queries(units_of: UnitsOf, pictures: Sequence[int], each: int, seed: int) -> list[Query]:
    """Draw units that ask: `each` of every class, of different pictures as far as there are, or `each` in all.

    Args:
        units_of: Gives the units; where they have classes, only pure ones ask.
        pictures: Numbers of the pictures to draw from.
        each: Queries a class; without masks, in all.
        seed: Seed of the draw.

    Returns:
        The queries by class, then in the order of the draw.
    """
    rng = np.random.default_rng([seed, 0x5EE4])
    firsts: dict[int | None, list[Query]] = {}
    others: dict[int | None, list[Query]] = {}
    for picture in rng.permutation(np.asarray(pictures, np.int64)).tolist():
        units = units_of(picture)
        for kind in _kinds(units):
            if len(firsts.get(kind, [])) < each:
                drawn = rng.permutation(_units_of_kind(units, kind))[:each].tolist()
                first, *rest = (Query(picture, unit, kind) for unit in drawn)
                firsts.setdefault(kind, []).append(first)
                others.setdefault(kind, []).extend(rest)
    order = sorted(firsts, key=lambda kind: -1 if kind is None else kind)
    return [query for kind in order for query in [*firsts[kind], *others[kind]][:each]]


def search(
    units_of: UnitsOf,
    queries: Sequence[Query],
    pictures: Iterable[int],
    top: int,
    a_picture: int = 1,
    order: Mapping[int, int] | None = None,
    apart: int = 0,
) -> Hits:
    """The most similar units of other pictures.

    Args:
        units_of: Gives the units of a picture.
        queries: Who asks; at least one.
        pictures: Numbers of the pictures that are searched.
        top: Answers a query, k.
        a_picture: Most answers from one picture.
        order: Place of each picture in time; none: its number.
        apart: A query does not search pictures that are at most so many places from its own.
    """
    asking = np.stack([units_of(q.picture).vectors[q.unit] for q in queries])  # (Q, C)
    place = order or {}
    own = np.array([place.get(q.picture, q.picture) for q in queries])
    similarity = np.full((len(queries), top), -np.inf, np.float32)
    picture, unit, kind = np.full((3, len(queries), top), -1, np.int64)
    searched = np.zeros(256, np.int64)
    for number in pictures:
        units = units_of(number)
        classes = np.full(len(units.vectors), IGNORE) if units.classes is None else units.classes
        searched += np.bincount(classes, minlength=256)
        best, where = _nearest(asking, units.vectors, min(a_picture, len(units.vectors)))
        best[np.abs(own - place.get(number, number)) <= apart] = -np.inf
        joined = np.concatenate([similarity, best], 1)
        rank = np.argsort(-joined, axis=1, kind="stable")[:, :top]  # at a tie the earlier picture stays
        similarity = np.take_along_axis(joined, rank, 1)
        numbers = np.where(np.isneginf(best), -1, number)
        picture, unit, kind = (
            np.take_along_axis(np.concatenate(pair, 1), rank, 1)
            for pair in ((picture, numbers), (unit, where), (kind, classes[where]))
        )
    searched[IGNORE] = 0
    return Hits(similarity, picture, unit, np.where(picture < 0, IGNORE, kind), searched)


def hit_rates(queries: Sequence[Query], hits: Hits) -> dict[int, tuple[float, int]]:
    """Share of the answers that are of the query's class, and number of queries, by class.

    Answers of unknown class do not count; a query none of whose answers is known is left out.
    """
    found: dict[int, list[float]] = {}
    for query, kinds in zip(queries, hits.kind, strict=True):
        known = kinds[kinds != IGNORE]
        if query.kind is not None and len(known):
            found.setdefault(query.kind, []).append(float((known == query.kind).mean()))
    return {kind: (sum(rates) / len(rates), len(rates)) for kind, rates in found.items()}


def _kinds(units: Units) -> list[int | None]:
    """Classes of which the picture has a unit that may ask."""
    if units.classes is None:
        return [None]
    return [kind for kind in np.unique(units.classes[units.pure]).tolist() if kind != IGNORE]


def _units_of_kind(units: Units, kind: int | None) -> np.ndarray:
    if kind is None or units.classes is None or units.pure is None:
        return np.arange(len(units.vectors))
    return np.flatnonzero((units.classes == kind) & units.pure)


def _nearest(asking: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest inner products (Q, k) float32 with rows of `vectors`, and which rows (Q, k) int64."""
    faiss = load_faiss()
    if faiss is not None:
        products, order = faiss.knn(asking, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        return products, order
    products = asking @ vectors.T
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, order, 1), order
