"""A cache in memory that forgets what was used longest ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteLRU(Generic[T]):
    """Values by key, at most `limit` bytes of them.

    Args:
        limit: Bytes; a single value larger than this is not kept at all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._items: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._items

    def __repr__(self) -> str:
        return f"ByteLRU({len(self)} values, {self.used / 2**20:.0f} of {self.limit / 2**20:.0f} MiB)"

    def get(self, key: Hashable) -> T | None:
        """The value, which now counts as used; `None` if it is not there."""
        if key not in self._items:
            return None
        self._items.move_to_end(key)
        return self._items[key][0]

    def put(self, key: Hashable, value: T, size: int) -> None:
        """Keeps a value of `size` bytes and forgets others until all fit."""
        if key in self._items:
            self.used -= self._items.pop(key)[1]
        if size > self.limit:
            return
        self._items[key] = (value, size)
        self.used += size
        while self.used > self.limit:
            self.used -= self._items.popitem(last=False)[1][1]
