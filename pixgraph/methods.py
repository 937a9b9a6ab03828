"""The methods by name, each with the frozen backbone that it needs: one place for evaluation, prediction and Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pixgraph.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    import torch

    from pixgraph.backbones.features import FeatureStore
    from pixgraph.config import BackboneConfig, GraphConfig
    from pixgraph.models.predictor import Predictor
    from pixgraph.training.checkpoint import TrainedNetwork

METHODS = {
    "graph": "the trained GNN; needs a run (--run, --checkpoint)",
    "propagate": "training-free graph mode: evidence, nearest neighbours and diffusion on the lattice",
    "prototype": "nearest class prototype by masked average pooling",
    "knn": "labels of the nearest support cells",
    "linear": "1x1 classifier fitted on the support cells",
    "all-background": "background everywhere",
}
"""Method name to its one-line description."""


@dataclass
class Method:
    """A predictor with the feature store that feeds it.

    Attributes:
        predictor: Segments tasks.
        store: Turns photographs into pictures with features.
        trained: What the checkpoint holds, for ``"graph"``.
    """

    predictor: Predictor
    store: FeatureStore
    trained: TrainedNetwork | None = None


def open_method(
    name: str,
    backbone: BackboneConfig,
    graph: GraphConfig,
    checkpoint: str | Path | None = None,
    device: torch.device | str = "cpu",
    seed: int = 0,
    mirror: bool = False,
) -> Method:
    """Build a method.

    Args:
        name: One of `METHODS`.
        backbone: The frozen CNN; for ``"graph"`` it must give the features that the network was trained on.
        graph: Construction of the graph, where the method uses one.
        checkpoint: Run folder or checkpoint file, for ``"graph"``.
        device: Where to compute.
        seed: Seed of the node sampling.
        mirror: Take the mean with the answer to the mirrored pictures, see `pixgraph.models.mirrored`.

    Raises:
        ConfigError: The name is unknown, or ``"graph"`` has no checkpoint, or another method has one.
        CheckpointError: The checkpoint does not load, or belongs to another backbone.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise ConfigError(f"method: got {name!r}, expected one of {', '.join(METHODS)}")
    if name == "graph" and checkpoint is None:
        raise ConfigError("method 'graph' needs a trained run; name its folder, or take method 'propagate'")
    if name != "graph" and checkpoint is not None:
        raise ConfigError(f"method {name!r} is not trained, yet got checkpoint {checkpoint}; leave one of the two out")
    from pixgraph.backbones.build import build_backbone
    from pixgraph.backbones.features import FeatureStore

    store = FeatureStore(build_backbone(backbone), backbone.size, backbone.cache, device)
    if checkpoint is None:
        return Method(_mirrored(lambda: training_free(name, graph, seed), store, mirror), store)
    from pixgraph.models.predictor import GraphPredictor
    from pixgraph.training.checkpoint import load_network

    trained = load_network(checkpoint, device)
    expected = trained.backbone["fingerprint"]
    if expected != store.backbone.fingerprint:
        raise CheckpointError(
            f"{trained.path} was trained on features of {trained.backbone['name']} ({expected}), got "
            f"{store.backbone.name} ({store.backbone.fingerprint}); set backbone.name and backbone.weights to its own"
        )
    predictor = _mirrored(lambda: GraphPredictor(trained.network, graph, seed), store, mirror)
    return Method(predictor, store, trained)


def _mirrored(make: Callable[[], Predictor], store: FeatureStore, mirror: bool) -> Predictor:
    if not mirror:
        return make()
    from pixgraph.models.mirrored import MirroredPredictor

    return MirroredPredictor(make(), make(), store)


def training_free(name: str, graph: GraphConfig, seed: int = 0) -> Predictor:
    """A method of `METHODS` that needs no checkpoint."""
    from pixgraph.evaluation.baselines import trivial_baselines

    if name == "propagate":
        from pixgraph.models.propagate import PropagatePredictor

        return PropagatePredictor(graph, seed=seed)
    return trivial_baselines()[name]
