"""Whether a run may go on under a configuration: every setting that can change its numbers must be the same."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pixgraph.config_check import build
from pixgraph.data.base import FewShotDataset
from pixgraph.errors import ConfigError, RunError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Where things lie and how often they are kept. The content behind root and weights is compared by its digest.
_NEUTRAL = re.compile(
    r"device|runs|run|train\.(save_every|tensorboard)|(data|extra\.\d+)\.root|backbone\.(cache|weights)"
    r"|data|weights|marks\.folder|cache_mb|broken_limit|optim\.(save_every|log_every|tensorboard|workers)"
)


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries and lists of dictionaries as one level of dotted keys.

    Example:
        >>> flatten({"train": {"lr": 0.1}, "extra": [{"name": "camvid"}]})
        {'train.lr': 0.1, 'extra.0.name': 'camvid'}
    """
    if isinstance(values, Mapping):
        items = list(values.items())
    elif isinstance(values, list) and any(isinstance(v, Mapping) for v in values):
        items = list(enumerate(values))
    else:
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def differing_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ and can change the numbers, with the old and the new value.

    A key that only one side has counts as `None` on the other; an empty list is no key at all.
    """
    before, after = flatten(old), flatten(new)
    keys = [k for k in dict.fromkeys([*before, *after]) if not _NEUTRAL.fullmatch(k)]
    pairs = {k: tuple(None if flat.get(k) == [] else flat.get(k) for flat in (before, after)) for k in keys}
    return {k: (was, now) for k, (was, now) in pairs.items() if was != now}


def require_same_config(old: Mapping[str, Any], config: DataclassInstance, run: str) -> None:
    """Refuse to continue a run under settings that would change its numbers.

    Args:
        old: The run's configuration as nested plain values.
        config: The configuration asked for, a `Config` or a dataclass of the same kind as that of the run.
        run: The run's folder, for the message.

    Raises:
        RunError: Names every key that differs, with both values.
    """
    changed = differing_keys(_completed(old, type(config)), dataclasses.asdict(config))
    if changed:
        listed = ", ".join(f"{key} (was {was!r}, now {now!r})" for key, (was, now) in changed.items())
        raise RunError(
            f"{run} was made with another configuration: {listed}; resume it with --config {run}/config.yaml, "
            "or start a new run under another --run"
        )


def _completed(old: Mapping[str, Any], kind: type[DataclassInstance]) -> Mapping[str, Any]:
    """The configuration with the defaults of settings that did not exist yet when the run was made."""
    try:
        return dataclasses.asdict(build(kind, old))
    except ConfigError:  # a setting that no longer exists: the comparison will name it
        return old


def dataset_digest(dataset: FewShotDataset) -> str:
    """16 hex digits over the split, its classes and the names of its pictures: the same episodes mean the same ones."""
    digest = hashlib.sha256(f"{dataset.name}/{dataset.split}".encode())
    for c, name in dataset.class_names.items():
        digest.update(f"\n{c} {name}".encode())
    for sample in dataset.samples:
        digest.update(f"\n{sample.key}".encode())
    return digest.hexdigest()[:16]
