"""A cache whose memory is bounded: what was unused longest goes first."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Safe from many threads. A value must not be written to after it was put in.

    Args:
        max_bytes: bound of all entries; what alone is larger is not kept, so with 0 nothing is.
        size_of: bytes that an entry is counted as.

    Attributes:
        hits, misses: how often `get` found an entry, and did not.
    """

    def __init__(self, max_bytes: int, size_of: Callable[[V], int]) -> None:
        self._max_bytes, self._size_of = max_bytes, size_of
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._held_bytes = 0
        self.hits, self.misses = 0, 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def held_bytes(self) -> int:
        """Memory that the entries take."""
        return self._held_bytes

    def get(self, key: K) -> V | None:
        """The entry, or None."""
        with self._lock:
            if key not in self._entries:
                self.misses += 1
                return None
            self.hits += 1
            self._entries.move_to_end(key)
            return self._entries[key]

    def put(self, key: K, value: V) -> None:
        """Keep a value, in place of the one that was there."""
        size = self._size_of(value)
        with self._lock:
            old = self._entries.pop(key, None)
            self._held_bytes -= 0 if old is None else self._size_of(old)
            if size <= self._max_bytes:
                self._entries[key] = value
                self._held_bytes += size
            while self._held_bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._held_bytes -= self._size_of(dropped)
