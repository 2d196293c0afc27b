"""The identity of the archive: all processes on one Redis must use the same archive."""

from contextlib import suppress

import structlog
from errata.errors import InvalidSetting, Unavailable

from service.archive.port import Archive
from service.jobs.store import JobStore

CHECK_SECONDS = 5.0  # between two checks of the id
_log = structlog.get_logger()


class ArchiveIdentity:
    """Compares the id of the archive with the one that the store is bound to."""

    def __init__(self, archive: Archive, store: JobStore, place: str) -> None:
        self._archive = archive
        self._store = store
        self._place = place  # where the archive lies, for the error
        self._id = ""
        self._bound = ""  # what the store was bound to at the last check

    @property
    def is_foreign(self) -> bool:
        """Return whether the store is known to belong to another archive."""
        return self._bound not in ("", self._id)

    def check(self) -> None:
        """Compare once.

        Raises:
            InvalidSetting: the store belongs to another archive.
            Unavailable: the archive or the store is away.
        """
        self._id = self._id or self._archive.id()
        was_foreign, self._bound = self.is_foreign, self._store.bind_archive(self._id)
        if self.is_foreign:
            raise InvalidSetting(
                f"The archive {self._place!r} has the id {self._id}, but ERRATA_REDIS_URL is used with the archive of "
                f"id {self._bound:.64}. Set ERRATA_ARCHIVE of all processes to the same place. If the archive was "
                "replaced on purpose, stop all processes and delete the key errata:archive in Redis.",
                field="ERRATA_ARCHIVE",
            )
        if was_foreign:
            _log.info("the archive is the one that Redis is used with again")

    def watch(self) -> None:
        """Compare once; log an error where the store belongs to another archive. Raise Unavailable as `check` does."""
        was_foreign = self.is_foreign
        try:
            self.check()
        except InvalidSetting as error:
            if not was_foreign:
                _log.error("another archive", error=error.message)

    def allows_judging(self) -> bool:
        """Return whether results may be written to this archive; what was never compared is compared now."""
        if not self._bound:
            with suppress(Unavailable):
                self.watch()
        return not self.is_foreign
