"""The variants of the ablation: what each changes in the full configuration, and what it is compared with."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

from pixgraph.config import Config
from pixgraph.config_check import check
from pixgraph.errors import ConfigError

FULL = "full"


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        text: What it is, in words.
        changes: Dotted key to value.
        against: The variant that it is compared with.
        weights: The variant whose trained weights it is scored with, which its changes do not touch; `None`: its own.
    """

    text: str
    changes: dict[str, Any] = field(default_factory=dict)
    against: str = FULL
    weights: str | None = None


_ALONE: dict[str, Any] = {"extra": []}
_FEW = {"episodes.label_fraction": 0.2, **_ALONE}  # other sources would be labels beyond the 20 %
_UNSUPERVISED = {"episodes.n_unlabelled": 2, "loss.unsup": 0.1}
_UNREFINED = {"model.discriminant": 0.0, "model.self_support": 0.0, "model.diffusion": 0.0}

VARIANTS: dict[str, Variant] = {
    FULL: Variant("everything below, as configured"),
    "no-evidence": Variant("no class-wise evidence in the decoder", {"model.evidence": False}),
    "no-diffusion": Variant(
        "labels of the trained network do not spread along the lattice", {"model.diffusion": 0.0}, weights=FULL
    ),
    "no-self-support": Variant(
        "queries not compared with themselves by the trained network", {"model.self_support": 0.0}, weights=FULL
    ),
    "no-refinement": Variant(
        "the trained network's own logits: no diffusion, self-support or discriminants", _UNREFINED, weights=FULL
    ),
    "no-pyramid": Variant("evidence at the nodes as it is, no convolutions", {"model.pyramid": 0}),
    "no-decoder-blocks": Variant("no attention after the convolutions", {"model.decoder_blocks": 0}),
    "no-lattice": Variant("no edges between query nodes, and so no diffusion", {"graph.dilations": []}),
    "no-edge-features": Variant("attention without the 3-d edge features", {"model.edge_features": False}),
    "no-support-edges": Variant(
        "no edges between query and support nodes", {"graph.query_support_random": 0, "graph.query_support_knn": 0}
    ),
    "no-auxiliary": Variant("no auxiliary heads", {"loss.auxiliary": 0.0}),
    "no-supcon": Variant("no supervised node contrast", {"loss.supcon": 0.0}),
    "no-augmentation": Variant("no augmented pictures", {"train.augment": 0}),
    "no-extra": Variant("trained on the data set's own classes only", _ALONE),
    "unsup": Variant("with unsupervised contrast, on pictures that are labelled too", _UNSUPERVISED),
    "label20": Variant("20 % of the masks and nothing else, the other pictures unused", _FEW, "no-extra"),
    "label20+unlabelled": Variant(
        "20 % of the masks, unsupervised contrast on the other 80 %", {**_FEW, **_UNSUPERVISED}, "label20"
    ),
    "label20+edges": Variant(
        "20 % of the masks, the other 80 % as further nodes and nearest neighbours, in training only",
        {**_FEW, "episodes.n_unlabelled": 2, "graph.unlabelled_knn": 4},
        "label20",
    ),
}
"""Name to variant."""


def configure(base: Config, name: str, seed: int) -> Config:
    """The configuration of a variant and a seed.

    Raises:
        ConfigError: The variant is unknown, or the base configuration already is what it is to be compared with.
    """
    if name not in VARIANTS:
        raise ConfigError(f"--variants: got {name!r}, expected some of {', '.join(VARIANTS)}")
    changes = VARIANTS[name].changes
    config = apply(base, changes)
    if changes and config == base:
        raise ConfigError(
            f"variant {name!r} changes nothing: the base configuration already has "
            f"{', '.join(f'{key} = {value}' for key, value in changes.items())}; drop the variant"
        )
    return check(replace(config, seed=seed))


def applicable(base: Config) -> list[str]:
    """The variants that differ from the base configuration, and the full one."""
    return [name for name, variant in VARIANTS.items() if not variant.changes or apply(base, variant.changes) != base]


def apply(config: Config, changes: dict[str, Any]) -> Config:
    """A copy of the configuration with other values at dotted keys.

    Raises:
        ConfigError: A key is unknown.
    """
    changed = copy.deepcopy(config)
    for key, value in changes.items():
        *path, last = key.split(".")
        section: Any = changed
        for part in path:
            section = getattr(section, part, None)
        if not hasattr(section, last):
            raise ConfigError(f"{key}: unknown key (value {value!r}); expected one of pixgraph.config.Config")
        setattr(section, last, copy.deepcopy(value))
    return changed
