"""Evaluation protocols as named objects: how episodes are drawn, how many, and at which size answers are scored.

The published protocols are followed in their rules; the random numbers are pixgraph's own, so that an episode is a
function of (seed, index) here too. Results of one protocol can be compared; they are not equal episode by episode.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pixgraph.data.base import FewShotDataset
from pixgraph.data.episodes import Episode, EpisodeList, EpisodeSampler
from pixgraph.errors import ConfigError, DataError

MIOU = "per class, intersections over unions summed over all episodes, then the mean over classes; 255 in neither"


@dataclass(frozen=True)
class Protocol:
    """A named way to draw episodes and to score them.

    Attributes:
        name: What a result is labelled with.
        description: One sentence about where it comes from.
        episodes: Episodes a seed.
        seeds: Seeds of the episode lists.
        score_size: Side in pixels of the square at which prediction and truth are compared; None: the original size.
        rule: How counts become a score.
        padded: The truth is padded to a square with 255 before it is scored.
        supports_distinct: No support occurs twice in an episode.
        drawing: ``"uniform"``: class, then pictures, uniformly (`EpisodeSampler`). ``"pairs"``: queries walk through
            the (picture, class) pairs in order; on COCO-20i class, then picture, uniformly. ``"pictures"``: queries
            walk through the pictures in order, with one of their classes.
        min_area: Smallest area of the class in a picture that serves as a support (uniform: in any picture).
        max_way: Most classes in an episode; None: any number.
    """

    name: str
    description: str
    episodes: int
    seeds: tuple[int, ...]
    score_size: int | None = None
    rule: str = MIOU
    padded: bool = False
    supports_distinct: bool = True
    drawing: Literal["uniform", "pairs", "pictures"] = "uniform"
    min_area: int = 1
    max_way: int | None = None

    def episode_list(self, dataset: FewShotDataset, n_way: int = 1, k_shot: int = 1, seed: int = 0) -> EpisodeList:
        """The episodes of one seed, each with one query.

        Raises:
            ConfigError: The protocol is not defined for so many classes, or a count is below 1.
            DataError: The data set has too few pictures of the classes.
        """
        if n_way < 1 or k_shot < 1:
            raise ConfigError(f"{self.name}: got {n_way}-way {k_shot}-shot, expected at least 1 of each; correct it")
        if self.max_way is not None and n_way > self.max_way:
            raise ConfigError(f"{self.name}: got {n_way}-way, expected at most {self.max_way}-way; use pixgraph-v1")
        if self.drawing == "uniform":
            sampler = EpisodeSampler(dataset, n_way, k_shot, min_area=self.min_area, seed=seed)
            episodes = [sampler[i] for i in range(self.episodes)]
        else:
            episodes = list(self._walk(dataset, k_shot, seed))
        meta = {"protocol": self.name, "episodes": self.episodes, "n_way": n_way, "k_shot": k_shot, "seed": seed}
        return EpisodeList(episodes, meta, dataset)

    def _walk(self, dataset: FewShotDataset, k_shot: int, seed: int) -> Iterator[Episode]:
        """1-way episodes whose queries come in the data set's order."""
        areas = dataset.areas
        pools = {c: sorted(i for i, n in found.items() if n >= self.min_area) for c, found in areas.items()}
        needed = (k_shot if self.supports_distinct else 1) + 1
        pools = {c: pool for c, pool in pools.items() if len(pool) >= needed}
        shown = sorted((i, c) for c, pool in pools.items() for i in pool)
        if not shown:
            raise DataError(
                f"{dataset.name} ({dataset.split}): no class has {needed} pictures with at least {self.min_area} of "
                f"its pixels, which {self.name} at {k_shot} shots needs; lower k_shot or add pictures"
            )
        order = sorted({i for i, _ in shown})
        for index in range(self.episodes):
            rng = np.random.default_rng([seed, index])
            if self.drawing == "pictures":
                query = order[index % len(order)]
                # A query may show its class as small as it likes; only supports are filtered.
                c = int(rng.choice([c for c in pools if query in areas[c]]))
            elif dataset.name == "coco20i":
                c = int(rng.choice(list(pools)))
                query = int(rng.choice(pools[c]))
            else:
                query, c = shown[index % len(shown)]
            others = [i for i in pools[c] if i != query]
            support = rng.choice(others, k_shot, replace=not self.supports_distinct)
            yield Episode(index, (c,), (tuple(int(i) for i in support),), (query,))


_HSNET = Protocol(
    name="hsnet-1000@400",
    description="HSNet (Min et al., ICCV 2021) and its successors: 400 x 400 squashed; a support may occur twice",
    episodes=1000,
    seeds=(0,),
    score_size=400,
    supports_distinct=False,
    drawing="pairs",
    max_way=1,
)
_PFENET = Protocol(
    name="pfenet-5000@orig-padded",
    description="PFENet (Tian et al., TPAMI 2020) on PASCAL-5i: truth padded to a square, supports above 2048 pixels",
    episodes=5000,
    seeds=(321,),
    padded=True,
    drawing="pictures",
    min_area=2 * 32 * 32,
    max_way=1,
)
_PANET = Protocol(
    name="panet-5x1000",
    description="PANet (Wang et al., ICCV 2019): five runs of 1000 episodes, scored at 417 x 417; any number of ways",
    episodes=1000,
    seeds=(1234, 1235, 1236, 1237, 1238),
    score_size=417,
)
_PIXGRAPH = Protocol(
    name="pixgraph-v1",
    description="five seeds of 1000 episodes, scored at the original size, supports distinct; any number of ways",
    episodes=1000,
    seeds=(0, 1, 2, 3, 4),
)

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        _PIXGRAPH,
        _HSNET,
        dataclasses.replace(
            _HSNET,
            name="hsnet-2400@400",
            episodes=2400,
            description="HSNet on FSS-1000: every test picture is a query once",
        ),
        _PFENET,
        dataclasses.replace(
            _PFENET, name="pfenet-20000@orig-padded", episodes=20000, description="PFENet on COCO-20i: 20,000 episodes"
        ),
        _PANET,
    )
}
"""The protocols by name."""


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Example:
        >>> get_protocol("hsnet-1000@400").score_size
        400

    Raises:
        ConfigError: There is none.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol: got {name!r}, expected one of {', '.join(PROTOCOLS)}; correct the name")
    return PROTOCOLS[name]
