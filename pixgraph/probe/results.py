"""The folder of a probe: what every probe found, kept together as long as it is of one embedding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixgraph.errors import RunError
from pixgraph.training.atomic import write_json
from pixgraph.training.records import plain

FILE = "probe.json"


def open_results(out: str | Path, embedding: Mapping[str, Any]) -> dict[str, Any]:
    """Results so far, or new ones.

    Args:
        out: The folder; made if it is not there.
        embedding: What is probed: name, fingerprint, size, levels.

    Raises:
        RunError: The folder holds results of another embedding, or cannot be made or read.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {folder}: {error.strerror}; choose another --out") from error
    found = read_results(folder)
    own = plain(dict(embedding))
    if found and found.get("embedding") != own:
        raise RunError(
            f"{folder} holds probes of {_words(found.get('embedding', {}))}, got {_words(own)}; choose another --out"
        )
    return {**found, "embedding": own}


def read_results(folder: str | Path) -> dict[str, Any]:
    """What a folder holds; empty where there is nothing.

    Raises:
        RunError: The file is broken.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}; remove it and probe again") from error
    return content


def write_results(folder: str | Path, results: Mapping[str, Any]) -> None:
    """Replace the file of results, all or nothing.

    Raises:
        RunError: It cannot be written.
    """
    path = Path(folder) / FILE
    try:
        write_json(path, plain(dict(results)))
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}; free space or change permissions") from error


def _words(embedding: Mapping[str, Any]) -> str:
    values = [embedding.get(key) for key in ("name", "fingerprint", "size", "levels")]
    return " / ".join("all levels" if value is None else str(value) for value in values)
