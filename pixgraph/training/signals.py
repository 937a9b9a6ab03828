"""SIGTERM and SIGINT: finish the step, save, leave; a second one leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TrainingStopped(SystemExit):
    """A signal ended the training after its state was saved; exits with 128 + signal, as shells expect (143, 130)."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)


class StopSignals:
    """While open, turns the first SIGTERM or SIGINT into a request, and the second into an immediate exit.

    Outside the main thread Python allows no handlers: nothing is caught there.

    Attributes:
        received: Number of the signal that asked to stop; 0 until then.
    """

    def __init__(self) -> None:
        self.received = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def raise_if_received(self) -> None:
        """Break off what can be done again later.

        Raises:
            TrainingStopped: A signal came.
        """
        if self.received:
            raise TrainingStopped(self.received)

    def breaks(self, processes: int) -> Callable[[], None]:
        """`raise_if_received` for what a process does alone, and nothing among several.

        With others waiting for this process in a sum, breaking off would leave them waiting.

        Args:
            processes: How many there are.
        """
        return self.raise_if_received if processes == 1 else _go_on

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.received:
            os._exit(128 + signum)  # no clean-up: files are whole at any moment, and the user is in a hurry
        self.received = signum
        # os.write: print() is not safe where a print may have been interrupted.
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _notice(signum))


def _go_on() -> None:
    """Do nothing."""


def _notice(signum: int) -> bytes:
    name = signal.Signals(signum).name
    return f"\n{name}: finishing this step and saving; a second signal leaves at once\n".encode()
