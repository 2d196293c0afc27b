"""Verdicts in memory: those of all archived analyses of a bundle, and the analyses whose images were listed last."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.domain import MULTI_LABEL_ERROR_TYPES, Bytes, Classes, is_among

MAX_BUNDLES = 2  # of up to 60 MB each
MAX_ANALYSES = 8  # of 5 bytes for each image
Judged = TypeVar("Judged")  # JudgedAnalysis, which ports must not import


@dataclass(frozen=True)
class StoredVerdicts:
    """The verdicts of one archived analysis on N judged images."""

    id: str
    title: str
    types: Bytes  # (N,) ID of the error type; 0: no prediction
    predicted: Classes  # (N,); -1: no prediction

    @property
    def fails(self) -> NDArray[np.bool_]:
        """Return the images with a multi-label error, (N,)."""
        return is_among(self.types, MULTI_LABEL_ERROR_TYPES)


@dataclass(frozen=True)
class ModelVerdicts:
    """The verdicts of the newest archived analyses of one bundle."""

    version: int  # of the index
    analyses: Sequence[StoredVerdicts]  # newest first
    num_images: int

    @cached_property
    def num_failing(self) -> NDArray[np.int16]:
        """Return the number of analyses with a multi-label error on each judged image, (N,)."""
        counts = np.zeros(self.num_images, dtype=np.int16)
        for analysis in self.analyses:
            counts += analysis.fails
        return counts

    def find(self, analysis_id: str) -> StoredVerdicts | None:
        """Return the verdicts of one analysis; None if it is not among them."""
        return next((analysis for analysis in self.analyses if analysis.id == analysis_id), None)


class VerdictCache(Generic[Judged]):
    """Keeps the verdicts of the bundles and of the analyses that were used last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, ModelVerdicts] = OrderedDict()
        self._judged_lock = threading.Lock()
        self._judged: OrderedDict[str, Judged] = OrderedDict()

    def find_judged(self, analysis_id: str) -> Judged | None:
        """Return an analysis with its verdicts; None if it was not used recently."""
        return self._judged.get(analysis_id)

    def add_judged(self, analysis_id: str, judged: Judged) -> None:
        """Remember an analysis, and forget the one that was added first if there are too many."""
        with self._judged_lock:
            self._judged[analysis_id] = judged
            while len(self._judged) > MAX_ANALYSES:
                self._judged.popitem(last=False)

    def get(
        self, evidence: str, version: int, load: Callable[[Sequence[StoredVerdicts]], ModelVerdicts]
    ) -> ModelVerdicts:
        """Return the verdicts of a bundle at a version of the index.

        Args:
            evidence: Digest of the bundle.
            version: Version of the index.
            load: Called with the verdicts at an earlier version, if the cache has none at this version.
        """
        with self._lock:  # so that concurrent requests load them once
            entry = self._entries.pop(evidence, None)
            if entry is None or entry.version != version:
                entry = load(entry.analyses if entry else ())
            self._entries[evidence] = entry
            while len(self._entries) > MAX_BUNDLES:
                self._entries.popitem(last=False)
            return entry
