"""The in-memory archive, for tests."""

import threading
import uuid
from collections.abc import Sequence

from service.domain import Analysis, Predictions


class InMemoryArchive:
    """An archive in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._id = uuid.uuid4().hex
        self._analyses: dict[str, tuple[Analysis, Predictions]] = {}
        self._last_list: list[Analysis] | None = None  # None: changed since the last listing

    def put(self, analysis: Analysis, predictions: Predictions) -> None:
        """Store an analysis."""
        with self._lock:
            self._analyses[analysis.id] = (analysis, predictions)
            self._last_list = None

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis."""
        with self._lock:
            stored = self._analyses.get(analysis_id)
        return stored[0] if stored else None

    def get_cached(self, analysis_id: str) -> Analysis | None:
        """Return an analysis."""
        return self.get(analysis_id)

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return the predictions of an analysis."""
        with self._lock:
            stored = self._analyses.get(analysis_id)
        return stored[1] if stored else None

    def list(self) -> Sequence[Analysis]:
        """Return all analyses."""
        with self._lock:
            if self._last_list is None:
                self._last_list = [analysis for analysis, _ in self._analyses.values()]
            return self._last_list

    def delete(self, analysis_id: str) -> bool:
        """Delete an analysis."""
        with self._lock:
            self._last_list = None
            return self._analyses.pop(analysis_id, None) is not None

    def id(self) -> str:
        """Return the id of the archive."""
        return self._id

    def size(self) -> int:
        """Return the size of the predictions in bytes."""
        with self._lock:
            return sum(predictions.top1.nbytes for _, predictions in self._analyses.values())
