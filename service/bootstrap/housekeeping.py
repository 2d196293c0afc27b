"""Housekeeping: deletion of orphaned files and expired analyses, at start and every hour."""

from datetime import timedelta

import structlog
from errata.errors import Unavailable

from service.analyses.ports import Stores
from service.analyses.retention import delete_expired
from service.archive.archive import EVENTS
from service.archive.files import open_files
from service.archive.orphaned_files import remove_orphaned_files
from service.bootstrap.background import wait_for_index
from service.bootstrap.build import embedding_cache
from service.bootstrap.wiring import picture_cache
from service.periodic_task import PeriodicTask
from service.redact import log_fields
from service.settings import Settings
from service.storage import remove_scratch, remove_temporary_folders

HOUSEKEEPING_SECONDS = 3600.0
ARCHIVE_FOLDERS = ("", "evidence", "audit", EVENTS, "reviews")
_log = structlog.get_logger()


class Housekeeping(PeriodicTask):
    """Deletes files that killed processes left behind, and analyses older than the retention time."""

    def __init__(self, stores: Stores, settings: Settings) -> None:
        super().__init__("housekeeping", self._delete_all, HOUSEKEEPING_SECONDS)
        self._stores = stores
        self._settings = settings
        self._retention = timedelta(days=settings.retention_days)
        self._recorded = set[str]()  # see `delete_expired`

    def _delete_all(self) -> None:
        """Delete the files and the analyses; an error of one does not prevent the other."""
        try:
            remove_all_orphaned_files(self._settings)
        except Unavailable as error:  # such as a new archive before Redis has responded
            _log.warning("orphaned files not removed", **log_fields(error))
        except Exception:
            _log.exception("removal of orphaned files failed")
        try:
            if self._retention and wait_for_index(self._stores.index, self._stopped):
                delete_expired(self._stores, self._retention, self._recorded)
        except Exception:
            _log.exception("deletion of expired analyses failed")


def remove_all_orphaned_files(settings: Settings) -> int:
    """Remove files that killed processes left in the archive, evidence, cache, and temporary folders.

    Returns:
        The number of removed files and folders.
    """
    removed = sum(remove_orphaned_files(open_files(settings.archive_location, folder)) for folder in ARCHIVE_FOLDERS)
    removed += remove_temporary_folders()
    folders = (settings.data_dir / "evidence", embedding_cache(settings), picture_cache(settings))
    removed += sum(map(remove_scratch, folders))
    if removed:
        _log.info("orphaned files removed", count=removed)
    return removed
