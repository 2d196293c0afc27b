"""An archive in memory: the folder's twin."""

import threading
import uuid
from collections.abc import Sequence

from service.domain import Analysis, Predictions


class InMemoryArchive:
    """Keeps what it is given until the process ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._id = uuid.uuid4().hex
        self._analyses: dict[str, tuple[Analysis, Predictions]] = {}
        self._all: list[Analysis] | None = None  # what was listed last

    def put(self, analysis: Analysis, predictions: Predictions) -> None:
        """Keep an analysis."""
        with self._lock:
            self._analyses[analysis.id] = (analysis, predictions)
            self._all = None

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis."""
        with self._lock:
            result = self._analyses.get(analysis_id)
        return result[0] if result else None

    def get_cached(self, analysis_id: str) -> Analysis | None:
        """Return an analysis."""
        return self.get(analysis_id)

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return an analysis' predictions."""
        with self._lock:
            result = self._analyses.get(analysis_id)
        return result[1] if result else None

    def list(self) -> Sequence[Analysis]:
        """Return all analyses."""
        with self._lock:
            if self._all is None:
                self._all = [analysis for analysis, _ in self._analyses.values()]
            return self._all

    def delete(self, analysis_id: str) -> bool:
        """Remove an analysis."""
        with self._lock:
            self._all = None
            return self._analyses.pop(analysis_id, None) is not None

    def id(self) -> str:
        """Return the id of this archive."""
        return self._id

    def size(self) -> int:
        """Return how many bytes the predictions take."""
        with self._lock:
            return sum(predictions.top1.nbytes for _, predictions in self._analyses.values())
