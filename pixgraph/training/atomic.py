"""Files that are either the old one or the new one, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp"
"""Ending of files in the making; what a killed process left of them is removed when its run is opened again."""


def write_atomic(path: Path, data: bytes | memoryview) -> None:
    """Replace the file at `path` by `data`, all or nothing.

    The bytes go to a hidden file in the same folder, reach the disk (fsync), and take the name of the old file in one
    step; then the folder's entry reaches the disk. An error leaves the old file as it was and nothing beside it.

    Raises:
        OSError: The folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # also KeyboardInterrupt: no debris in any case
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace the file at `path` by `value` as indented JSON; numbers that JSON lacks (NaN) are refused."""
    write_atomic(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def sync_folder(folder: Path) -> None:
    """Make new names in `folder` survive a power cut; systems that cannot open folders do so by themselves."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Remove what killed processes left in the making; the caller holds the folder's lock."""
    for path in folder.glob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)
