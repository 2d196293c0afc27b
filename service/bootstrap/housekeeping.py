"""Housekeeping: the files and analyses that an API process deletes at its start and every hour."""

from datetime import timedelta
from threading import Event, Thread

import structlog

from service.analyses.ports import Ports
from service.analyses.retention import delete_expired
from service.archive.files import open_files
from service.archive.orphaned_files import remove_orphaned_files
from service.bootstrap.build import embedding_cache
from service.settings import Settings
from service.storage import remove_scratch, remove_temporary_folders

HOUSEKEEPING_SECONDS = 3600.0
_log = structlog.get_logger()


class Housekeeping:
    """Deletes files that killed processes left, and analyses older than their retention time: now and every hour."""

    def __init__(self, ports: Ports, settings: Settings) -> None:
        self._ports = ports
        self._settings = settings
        self._keep = timedelta(days=settings.retention_days)
        self._stopped = Event()

    def start(self) -> None:
        """Start a thread."""
        Thread(target=self._run, name="housekeeping", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _run(self) -> None:
        while True:
            try:
                remove_all_orphaned_files(self._settings)
            except Exception:
                _log.exception("orphaned files cannot be removed now")
            try:
                if self._keep:
                    delete_expired(self._ports, self._keep)
            except Exception:
                _log.exception("old analyses can't be deleted now")
            if self._stopped.wait(HOUSEKEEPING_SECONDS):
                return


def remove_all_orphaned_files(settings: Settings) -> int:
    """Remove what killed processes left in archive, evidence folder, cache, and temporary folder; return how many."""
    removed = remove_orphaned_files(open_files(settings.archive_place))
    removed += remove_temporary_folders()
    removed += sum(remove_scratch(folder) for folder in (settings.data_dir / "evidence", embedding_cache(settings)))
    if removed:
        _log.info("orphaned files removed", count=removed)
    return removed
