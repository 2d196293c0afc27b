"""Results in memory: of the archived analyses of a bundle, and of the analyses whose images were listed last."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.caller import visible_owner
from service.domain import MULTI_LABEL_ERROR_TYPES, NO_TYPE, Bytes, Classes, is_among
from service.domain.images import ImageQuery

MAX_BUNDLES = 2  # of up to 64 MB each
MAX_ANALYSES = 8  # of 5 bytes for each image
MAX_SELECTIONS = 4  # of about 30 bytes for each image
Judged = TypeVar("Judged")  # JudgedAnalysis, which ports must not import
Selected = TypeVar("Selected")  # images.Selection
Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class StoredVerdicts:
    """The verdicts of one archived analysis on N judged images."""

    id: str
    title: str
    owner: str
    types: Bytes  # (N,) ID of the error type; 0: no prediction
    predicted: Classes  # (N,); -1: no prediction

    @property
    def fails(self) -> NDArray[np.bool_]:
        """Return the images with a multi-label error, (N,)."""
        return is_among(self.types, MULTI_LABEL_ERROR_TYPES)


@dataclass(frozen=True)
class ModelVerdicts:
    """The verdicts of the newest plausible archived analyses of one bundle."""

    analyses: Sequence[StoredVerdicts]  # newest first
    num_images: int

    @cached_property
    def num_failing(self) -> NDArray[np.int16]:
        """Return the number of analyses with a multi-label error on each judged image, (N,)."""
        counts = np.zeros(self.num_images, dtype=np.int16)
        for analysis in self.analyses:
            counts += analysis.fails
        return counts

    @cached_property
    def num_predicting(self) -> NDArray[np.int16]:
        """Return the number of analyses with a prediction for each judged image, (N,)."""
        counts = np.zeros(self.num_images, dtype=np.int16)
        for analysis in self.analyses:
            counts += analysis.types != NO_TYPE
        return counts

    def find(self, analysis_id: str) -> StoredVerdicts | None:
        """Return the verdicts of one analysis; None if these verdicts do not include it."""
        return next((analysis for analysis in self.analyses if analysis.id == analysis_id), None)


class Newest(Generic[Key, Value]):
    """The values that were added or found last. Thread-safe.

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
        """Add a value, and forget the one used longest ago if there are too many; return the key's previous value."""
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
        self._entries: Newest[tuple[str | None, str], tuple[int, Value]] = Newest(MAX_BUNDLES)

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


class VerdictCache(Generic[Judged, Selected]):
    """Keeps the verdicts of bundles, and the analyses and the selections of images that were used last."""

    def __init__(self) -> None:
        self.models: BundleCache[ModelVerdicts] = BundleCache()
        self.judged: Newest[str, Judged] = Newest(MAX_ANALYSES)  # by the ID of the analysis
        self.selections: Newest[ImageQuery, Selected] = Newest(MAX_SELECTIONS)
