"""What stays in memory of what is read again and again: the first values that fit.

With an order that is new in every epoch, no rule of replacement keeps more of the next epoch's values than keeping
those one has.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """The first values by number, as many as fit.

    Copies for other processes start empty: every process keeps its own.

    Args:
        limit: Bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self._values: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Kept({len(self)} values, {self.used / 2**20:.0f} of {self.limit / 2**20:.0f} MiB)"

    def __getstate__(self) -> dict[str, Any]:
        return {"limit": self.limit, "used": 0, "_values": {}}

    def get(self, number: int) -> T | None:
        """The value, `None` where it is not kept."""
        return self._values.get(number)

    def put(self, number: int, value: T, size: int) -> T:
        """Keep a value of `size` bytes if it fits; gives it back."""
        if number not in self._values and self.used + size <= self.limit:
            self._values[number] = value
            self.used += size
        return value
