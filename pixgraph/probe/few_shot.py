"""Few-shot score of an embedding: the training-free graph on episodes, beside the trivial baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixgraph.config import GraphConfig, SourceConfig
from pixgraph.data.catalog import dataset_names, open_dataset
from pixgraph.errors import ConfigError
from pixgraph.probe.config import FewShotConfig

if TYPE_CHECKING:
    from pixgraph.backbones.features import FeatureStore
    from pixgraph.evaluation.result import Evaluation


def few_shot(
    config: FewShotConfig, source: SourceConfig, graph: GraphConfig, store: FeatureStore, seed: int = 0
) -> Evaluation:
    """Score the training-free graph by the rule of protocol pixgraph-v1, on as many episodes as asked for.

    Args:
        config: Data, split, shots, episodes.
        source: The data set where `config` names none.
        graph: Construction of the graph.
        store: The embedding.
        seed: Seed of the node sampling.

    Raises:
        ConfigError: The data set is unknown or cannot be opened.
        DataError: It cannot give such episodes.
    """
    from pixgraph.data.protocols import get_protocol
    from pixgraph.evaluation.evaluate import evaluate
    from pixgraph.methods import training_free
    from pixgraph.run_scores import first_seeds

    protocol = get_protocol("pixgraph-v1")
    dataset = open_dataset(_source(config.data, source), config.split)
    return evaluate(
        {"propagate": training_free("propagate", graph, seed)},
        dataset,
        store,
        protocol,
        1,
        config.k_shot,
        seeds=first_seeds(protocol.seeds, config.seeds),
        episodes=config.episodes,
    )


def _source(place: str | None, other: SourceConfig) -> SourceConfig:
    """NAME:FOLDER as a source."""
    if place is None:
        return other
    name, _, root = place.partition(":")
    if name not in dataset_names():
        raise ConfigError(
            f"few_shot.data: got {place!r}, expected NAME:FOLDER with a name of {', '.join(dataset_names())}"
        )
    return SourceConfig(name=name, root=root or None)
