"""A lock between processes that dies with its holder, so that a crash leaves nothing to clean up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # Windows: runs there are not guarded against each other
    fcntl = None  # type: ignore[assignment]


class Locked(Exception):  # noqa: N818 - an outcome, not a defect
    """Another process holds the lock; the text says which."""


class FileLock:
    """Exclusive lock on a file (flock), held by this open file and released by the system however the process ends.

    Args:
        path: File to lock; made when missing, kept afterwards, for removing it would let two processes in.
        wait: Wait for the other holder instead of raising.
    """

    def __init__(self, path: Path, wait: bool = False) -> None:
        self._path = path
        self._wait = wait
        self._file: TextIO | None = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            Locked: Another holder has it and `wait` is off.
            OSError: The file cannot be made.
        """
        file = self._path.open("a+", encoding="utf-8")
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if self._wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip()
                file.close()
                raise Locked(holder or "another process") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None
