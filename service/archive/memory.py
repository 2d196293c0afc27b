"""The in-memory archive, for tests."""

import threading
import uuid
from collections.abc import Collection, Iterator, Set

from service.archive.document import encode_document
from service.archive.port import Record
from service.domain import Analysis, AuditEvent, Predictions


class InMemoryArchive:
    """An archive in a dictionary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._id = uuid.uuid4().hex
        self._analyses: dict[str, tuple[Analysis, Predictions]] = {}
        self._ids: frozenset[str] = frozenset()

    def put(self, analysis: Analysis, predictions: Predictions, creation: AuditEvent | None = None) -> Record:
        """Store an analysis, but not the event about it, and return its record."""
        with self._lock:
            self._analyses[analysis.id] = (analysis, predictions)
            self._ids = frozenset(self._analyses)
        return Record(analysis, encode_document(analysis))

    def get(self, analysis_id: str) -> Analysis | None:
        """Return an analysis."""
        with self._lock:
            stored = self._analyses.get(analysis_id)
        return stored[0] if stored else None

    def predictions(self, analysis_id: str) -> Predictions | None:
        """Return the predictions of an analysis."""
        with self._lock:
            stored = self._analyses.get(analysis_id)
        return stored[1] if stored else None

    def ids(self) -> Set[str]:
        """Return the ids of all analyses."""
        return self._ids

    def records(self, analysis_ids: Collection[str]) -> Iterator[Record]:
        """Yield the records of the given analyses."""
        for analysis_id in analysis_ids:
            if analysis := self.get(analysis_id):
                yield Record(analysis, encode_document(analysis))

    def delete(self, analysis_id: str) -> bool:
        """Delete an analysis."""
        with self._lock:
            is_deleted = self._analyses.pop(analysis_id, None) is not None
            self._ids = frozenset(self._analyses)
            return is_deleted

    def id(self) -> str:
        """Return the id of the archive."""
        return self._id

    def find_id(self) -> str:
        """Return the id of the archive."""
        return self._id

    def size(self) -> int:
        """Return the size of the predictions in bytes."""
        with self._lock:
            return sum(predictions.top1.nbytes for _, predictions in self._analyses.values())
