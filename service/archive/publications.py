"""Published evidence and the audit log in an archive: `evidence/` has files, and `audit/` has one record per event."""

import threading
import time
from collections.abc import Mapping, Sequence

import structlog
from errata.errors import Unavailable

from service.archive.files import open_files
from service.archive.record_log import RecordLog
from service.domain import AuditEvent

REFRESH_SECONDS = 1.0  # age of the list of events in seconds after which it is read again
_log = structlog.get_logger()


class ArchivePublications:
    """Published evidence in the archive at a folder or URL. Thread-safe."""

    def __init__(self, location: str, refresh_seconds: float = REFRESH_SECONDS) -> None:
        self._files = open_files(location, "evidence")
        self._audit = RecordLog(open_files(location, "audit"), AuditEvent)
        self._refresh_seconds = refresh_seconds
        self._lock = threading.Lock()
        self._events: Sequence[AuditEvent] | None = None
        self._read_at = 0.0

    def events(self) -> Sequence[AuditEvent]:
        """Return the events, oldest first. Events of other processes appear after at most a second.

        While the archive is unavailable, return the events that were read before.
        """
        with self._lock:
            if self._events is not None and time.monotonic() - self._read_at < self._refresh_seconds:
                return self._events
            try:
                self._events = self._audit.all()
            except Unavailable as error:
                if self._events is None:
                    raise
                _log.warning("audit log not read: archive unavailable", error=str(error))
            self._read_at = time.monotonic()
            return self._events

    def refresh(self) -> None:
        """Make the next call to `events` read the archive."""
        with self._lock:
            self._read_at = -self._refresh_seconds

    def append(self, event: AuditEvent) -> None:
        """Store an event."""
        self._audit.append(event)
        self.refresh()

    def read(self, name: str) -> bytes | None:
        """Return the content of a file."""
        return self._files.read(name)

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        self._files.write({name: content})

    def sizes(self) -> Mapping[str, int]:
        """Return the sizes of all files."""
        return self._files.sizes()
