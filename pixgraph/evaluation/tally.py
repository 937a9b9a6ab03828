"""Integer counts of one method over the episodes of one seed, as one array that processes can add up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixgraph.evaluation.metrics import EpisodeCounts, EpisodicIoU, ratios


class Tally:
    """Scores, per-episode IoU and time of one method on one episode list.

    Args:
        classes: Class ids that are scored.
        episodes: Length of the episode list, over all processes.

    Attributes:
        score: Counts per class.
        episodes: (E, 2) int64: intersection and union of each episode, over its queries and ways; zero for
            episodes of other processes.
        nanoseconds: Time spent in `predict`.
    """

    def __init__(self, classes: Sequence[int], episodes: int) -> None:
        self.score = EpisodicIoU(classes)
        self.episodes = np.zeros((episodes, 2), np.int64)
        self.nanoseconds = 0

    def add(self, episode: int, counts: Sequence[EpisodeCounts], classes: Sequence[int], nanoseconds: int) -> None:
        """Add the queries of one episode.

        Args:
            episode: Position in the episode list.
            counts: One entry a query.
            classes: Class ids of the ways.
            nanoseconds: Time that the prediction of all queries took.
        """
        for count in counts:
            self.score.add(count, classes)
            self.episodes[episode] += (count.intersection.sum(), count.union.sum())
        self.nanoseconds += nanoseconds

    def pack(self) -> np.ndarray:
        """Everything as one flat int64 array; the sum of the arrays of all processes is the array of one process."""
        score = self.score
        parts = (score.counts, score.binary, [score.queries, self.nanoseconds], self.episodes)
        return np.concatenate([np.ravel(part) for part in parts]).astype(np.int64)

    def unpack(self, packed: np.ndarray) -> Tally:
        """A tally over the same classes and episodes with the counts of `packed`."""
        n = len(self.score.classes)
        tally = Tally(self.score.classes, len(self.episodes))
        counts, binary, rest, episodes = np.split(packed, np.cumsum([2 * n, 4, 2]))
        tally.score.counts, tally.score.binary = counts.reshape(n, 2), binary.reshape(2, 2)
        tally.score.queries, tally.nanoseconds = int(rest[0]), int(rest[1])
        tally.episodes = episodes.reshape(-1, 2)
        return tally

    def episode_iou(self) -> np.ndarray:
        """(E,) float64: IoU of each episode over its queries and ways; nan where the union is empty."""
        return ratios(self.episodes[:, 0], self.episodes[:, 1])

    @property
    def milliseconds_per_query(self) -> float:
        """Mean time of `predict` a query, in milliseconds."""
        return self.nanoseconds / 1e6 / max(1, self.score.queries)
