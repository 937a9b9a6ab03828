"""Reading what a run wrote: configuration, metrics and summary, without holding the run."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pixgraph.errors import RunError


def read_config(run: str | Path) -> dict[str, Any]:
    """The configuration in a run's `config.yaml` as nested plain values.

    Raises:
        RunError: The file is missing or broken.
    """
    path = Path(run) / "config.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise RunError(f"cannot read {path}: {text}; expected the settings of a run as YAML") from error
    if not isinstance(values, dict):
        raise RunError(f"{path} holds no settings; expected those of a run as YAML")
    return values


def read_metrics(run: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`; a torn last line, which a killed process may leave, is skipped."""
    path = Path(run) / "metrics.jsonl"
    lines = []
    for text in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            value = json.loads(text)
            if isinstance(value, dict) and "kind" in value and "step" in value:
                lines.append(value)
    return lines


def read_summary(run: str | Path) -> dict[str, Any]:
    """A run's `summary.json`; empty when there is none yet.

    Raises:
        RunError: The file is broken.
    """
    return _read_json(Path(run) / "summary.json")


def read_environment(run: str | Path) -> dict[str, Any]:
    """A run's `environment.json`; empty when there is none yet.

    Raises:
        RunError: The file is broken.
    """
    return _read_json(Path(run) / "environment.json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"cannot read {path}: {error}; expected JSON: remove it and resume the run") from error


def plain(value: Any) -> Any:
    """`value` with NaN and infinities, which JSON lacks, as `None`, and keys as text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
