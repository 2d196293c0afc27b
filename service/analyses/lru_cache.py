"""Caches in memory that keep the most recently used values."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from service.caller import visible_owner

MAX_BUNDLES = 2  # of up to 64 MB each
Key = TypeVar("Key")
Value = TypeVar("Value")


class LruCache(Generic[Key, Value]):
    """Keeps the most recently used values. Thread-safe.

    Args:
        size: The number of values.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def find(self, key: Key) -> Value | None:
        """Return the value of a key; None if it was not used recently."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def add(self, key: Key, value: Value) -> Value | None:
        """Add a value, and remove the least recently used one if there are too many; return the previous value."""
        with self._lock:
            before = self._values.pop(key, None)
            self._values[key] = value
            if len(self._values) > self._size:
                self._values.popitem(last=False)
            return before


class BundleCache(Generic[Value]):
    """Keeps the values of the most recently used bundles. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: LruCache[tuple[str | None, str], tuple[int, Value]] = LruCache(MAX_BUNDLES)

    def get(self, evidence: str, version: int, load: Callable[[Value | None], Value]) -> Value:
        """Return the value of a bundle at a version of the index.

        Args:
            evidence: Digest of the bundle.
            version: Version of the index.
            load: Computes the value if the cache has none at this version. The argument is the value at an earlier
                version, or None.
        """
        with self._lock:  # so that concurrent requests load a value once
            key = visible_owner(), evidence  # each owner sees different analyses
            known, value = self._entries.find(key) or (None, None)
            if value is None or known != version:
                value = load(value)
            self._entries.add(key, (version, value))
            return value
