"""Errors of a DataLoader's worker processes, in the one line that they were written in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pixgraph.errors import PixgraphError


@contextmanager
def one_line() -> Iterator[None]:
    """Take off the traceback that torch puts before the words of a worker's error.

    Raises:
        PixgraphError: As raised inside the block, of the same class; errors without a traceback as they are.
    """
    try:
        yield
    except PixgraphError as error:
        lines = str(error).strip().splitlines()
        name = f"{type(error).__module__}.{type(error).__qualname__}: "
        if len(lines) > 1 and lines[-1].startswith(name):
            raise type(error)(lines[-1].removeprefix(name)) from error
        raise
