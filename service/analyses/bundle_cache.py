"""Values in memory that are computed from the archived analyses of a bundle."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from service.caller import visible_owner

MAX_BUNDLES = 2  # of up to 64 MB each
Value = TypeVar("Value")


class BundleCache(Generic[Value]):
    """Keeps the values of the most recently used bundles. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str | None, str], tuple[int, Value]] = OrderedDict()

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
            known, value = self._entries.pop(key, (None, None))
            if value is None or known != version:
                value = load(value)
            self._entries[key] = version, value
            while len(self._entries) > MAX_BUNDLES:
                self._entries.popitem(last=False)
            return value
