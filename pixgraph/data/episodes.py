"""N-way K-shot episodes as a pure function of (seed, index), and lists of them that can be frozen, saved and hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixgraph.data.base import FewShotDataset
from pixgraph.errors import ConfigError, DataError

FORMAT = "pixgraph-episodes-1"
"""Version of the files that `EpisodeList.save` writes."""

_ATTEMPTS = 200  # draws of one episode before it counts as impossible; only crowded multi-class pictures need a second


@dataclass(frozen=True)
class Episode:
    """Which pictures of a data set play which part.

    Attributes:
        index: Position in its sequence.
        classes: Class ids of the N ways; way n has label n + 1.
        support: For each way, the K sample indices whose masks of this class are given.
        query: Sample indices to segment, none of them a support.
        unlabelled: Sample indices whose masks are never read.
    """

    index: int
    classes: tuple[int, ...]
    support: tuple[tuple[int, ...], ...]
    query: tuple[int, ...]
    unlabelled: tuple[int, ...] = ()


class EpisodeSampler:
    """Draws episode i from ``np.random.default_rng([seed, i])``: the same for any number of workers and after a resume.

    Classes are drawn uniformly, then a class for each query (each way gets its share), then pictures uniformly among
    those that show the class. No picture plays two parts in an episode.

    Args:
        dataset: Where the pictures come from.
        n_way: Foreground classes N.
        k_shot: Labelled pictures of each class K.
        n_query: Pictures to segment Q.
        n_unlabelled: Pictures without labels U.
        min_area: Smallest number of pixels of the class for a picture to show it.
        seed: Seed of the sequence, >= 0.
        labelled: Sample indices that keep their masks; supports and queries come from these and unlabelled pictures
            from the others. None: every labelled picture is available to all parts.

    Attributes:
        left_out: Classes with too few pictures: name to number of pictures.

    Raises:
        ConfigError: A count is out of range.
        DataError: Fewer than N classes have enough pictures.
    """

    def __init__(
        self,
        dataset: FewShotDataset,
        n_way: int = 1,
        k_shot: int = 1,
        n_query: int = 1,
        n_unlabelled: int = 0,
        min_area: int = 1,
        seed: int = 0,
        labelled: Collection[int] | None = None,
    ) -> None:
        for name, value, low in (
            ("n_way", n_way, 1),
            ("k_shot", k_shot, 1),
            ("n_query", n_query, 1),
            ("n_unlabelled", n_unlabelled, 0),
            ("min_area", min_area, 1),
            ("seed", seed, 0),
        ):
            if value < low:
                raise ConfigError(f"{name}: got {value}, expected at least {low}; correct the setting")
        self.dataset, self.seed = dataset, seed
        self.n_way, self.k_shot, self.n_query, self.n_unlabelled = n_way, k_shot, n_query, n_unlabelled
        kept = None if labelled is None else set(labelled)
        self.pools = _pools(dataset, min_area, kept)
        self._unlabelled = np.array([i for i in range(len(dataset)) if kept is None or i not in kept], np.int64)
        # Each way is the class of at most ceil(Q / N) queries.
        needed = k_shot + -(-n_query // n_way)
        names = dataset.class_names
        self.left_out = {names[c]: len(pool) for c, pool in self.pools.items() if len(pool) < needed}
        self.classes = np.array([c for c, pool in self.pools.items() if len(pool) >= needed], np.int64)
        if len(self.classes) < n_way:
            counts = ", ".join(f"{name} {count}" for name, count in self.left_out.items()) or "none at all"
            where = f"{dataset.name} ({dataset.split})"
            raise DataError(
                f"{where}: got {len(self.classes)} classes with the {needed} labelled pictures that {k_shot} shots and "
                f"{n_query} queries need, expected at least {n_way}; too few pictures: {counts}; lower n_way, k_shot "
                "or n_query, or add pictures"
            )

    def __getitem__(self, index: int) -> Episode:
        """Episode `index`, any number >= 0.

        Raises:
            DataError: The classes drawn share so few pictures that none is left for a part.
        """
        if index < 0:
            raise IndexError(f"episode {index}: expected 0 or more")
        rng = np.random.default_rng([self.seed, index])
        for _ in range(_ATTEMPTS):
            episode = self._draw(rng, index)
            if episode is not None:
                return episode
        raise DataError(
            f"{self.dataset.name} ({self.dataset.split}): episode {index} has no {self.k_shot} supports a class and "
            f"{self.n_query} queries that differ; lower n_way or k_shot, or add pictures"
        )

    def _draw(self, rng: np.random.Generator, index: int) -> Episode | None:
        classes = [int(c) for c in rng.choice(self.classes, self.n_way, replace=False)]
        ways = np.concatenate([rng.permutation(self.n_way) for _ in range(-(-self.n_query // self.n_way))])
        used: set[int] = set()
        query = [self._pick(rng, classes[way], 1, used) for way in ways[: self.n_query]]
        support = [self._pick(rng, c, self.k_shot, used) for c in classes]
        if any(not picked for picked in query + support):
            return None
        return Episode(
            index,
            tuple(classes),
            tuple(support),
            tuple(picked[0] for picked in query),
            self._pick_unlabelled(rng, used),
        )

    def _pick(self, rng: np.random.Generator, c: int, count: int, used: set[int]) -> tuple[int, ...]:
        """`count` distinct pictures of class c that are not used yet; empty when there are not so many."""
        pool = self.pools[c]
        # A few spare ones replace those that are used already.
        drawn = rng.choice(pool, min(len(pool), count + len(used)), replace=False)
        picked = tuple(int(i) for i in drawn if int(i) not in used)[:count]
        if len(picked) < count:
            return ()
        used.update(picked)
        return picked

    def _pick_unlabelled(self, rng: np.random.Generator, used: set[int]) -> tuple[int, ...]:
        """Up to U pictures for the unlabelled part; fewer only where the data set has no more."""
        if not self.n_unlabelled:
            return ()
        drawn = rng.choice(self._unlabelled, min(len(self._unlabelled), self.n_unlabelled + len(used)), replace=False)
        return tuple(int(i) for i in drawn if int(i) not in used)[: self.n_unlabelled]


def _pools(dataset: FewShotDataset, min_area: int, kept: set[int] | None) -> dict[int, np.ndarray]:
    """For each class, the indices of the pictures that show enough of it, ascending."""
    return {
        c: np.array(sorted(i for i, n in found.items() if n >= min_area and (kept is None or i in kept)), np.int64)
        for c, found in sorted(dataset.areas.items())
    }


class EpisodeList(Sequence[Episode]):
    """A frozen list of episodes; its hash names pictures and classes, so it holds on every copy of the data set.

    Args:
        episodes: The episodes.
        meta: What made them: protocol, n_way, k_shot, seed, ... JSON values only.
        dataset: The data set that the indices belong to.
    """

    def __init__(self, episodes: Sequence[Episode], meta: dict[str, Any], dataset: FewShotDataset) -> None:
        self.episodes = tuple(episodes)
        self.meta = dict(meta)
        self.dataset_name, self.split = dataset.name, dataset.split
        self._records = [_named(episode, dataset) for episode in self.episodes]

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, index: Any) -> Any:
        return self.episodes[index]

    def __iter__(self) -> Iterator[Episode]:
        return iter(self.episodes)

    def __repr__(self) -> str:
        return f"EpisodeList({len(self)} episodes of {self.dataset_name} ({self.split}), hash {self.hash})"

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 over the canonical JSON of class names and sample keys."""
        text = json.dumps(self._records, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]

    def save(self, path: str | Path) -> None:
        """Write the list as JSON; the file appears whole or not at all.

        Raises:
            DataError: The file cannot be written.
        """
        path = Path(path)
        content = {
            "format": FORMAT,
            "dataset": self.dataset_name,
            "split": self.split,
            "hash": self.hash,
            "meta": self.meta,
            "episodes": self._records,
        }
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(f"{path}: cannot write the episode list ({error}); check folder and disk") from error

    @classmethod
    def load(cls, path: str | Path, dataset: FewShotDataset) -> EpisodeList:
        """Read a list and find its pictures in `dataset`.

        Raises:
            DataError: The file is missing, broken, edited, or names pictures or classes that the data set lacks.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise DataError(f"{path}: got format {content['format']!r}, expected {FORMAT!r}; save the list again")
            keys = {sample.key: i for i, sample in enumerate(dataset.samples)}
            ids = {name: c for c, name in dataset.class_names.items()}
            episodes = [_resolved(i, record, ids, keys) for i, record in enumerate(content["episodes"])]
            loaded, expected = cls(episodes, content["meta"], dataset), content["hash"]
        except _Unknown as error:
            raise DataError(
                f"{path}: {error} is not in {dataset.name} ({dataset.split}), expected the data set that the list was "
                "made from; check its root and split"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: cannot read the episode list ({error!r}); save it again") from error
        if loaded.hash != expected:
            raise DataError(f"{path}: got hash {loaded.hash}, expected {expected}; the list was edited, save it again")
        return loaded


class _Unknown(Exception):  # noqa: N818 - never leaves this file
    """A name in an episode file that the data set does not know."""


def _named(episode: Episode, dataset: FewShotDataset) -> dict[str, Any]:
    def keys(indices: Sequence[int]) -> list[str]:
        """Names of samples."""
        return [dataset.samples[i].key for i in indices]

    return {
        "classes": [dataset.class_names[c] for c in episode.classes],
        "support": [keys(way) for way in episode.support],
        "query": keys(episode.query),
        "unlabelled": keys(episode.unlabelled),
    }


def _resolved(index: int, record: dict[str, Any], ids: dict[str, int], keys: dict[str, int]) -> Episode:
    def find(table: dict[str, int], names: list[str]) -> tuple[int, ...]:
        """Positions of the names; raises `_Unknown` for the first that is not in the table."""
        for name in names:
            if name not in table:
                raise _Unknown(repr(name))
        return tuple(table[name] for name in names)

    return Episode(
        index,
        find(ids, record["classes"]),
        tuple(find(keys, way) for way in record["support"]),
        find(keys, record["query"]),
        find(keys, record["unlabelled"]),
    )
