"""The identity of the archive: all processes that share a Redis must use the same archive."""

from contextlib import suppress

import structlog
from errata.errors import InvalidSetting, Unavailable

from service.archive.archive import FileArchive
from service.jobs.store import JobStore

CHECK_SECONDS = 5.0  # interval between two checks of the id
_log = structlog.get_logger()


class ArchiveIdentity:
    """Compares the id of the archive with the id of the archive that the job store is bound to.

    A folder without an id can be a new archive, or an empty mount point. It gets an id only if the store is not bound.
    Until the store has answered, the id that the archive has counts; without one, calls for its files fail.
    """

    def __init__(self, archive: FileArchive, store: JobStore, place: str) -> None:
        self._archive = archive
        self._store = store
        self._place = place  # path or URL of the archive, for the error message
        self._id = ""  # id of the archive at the last check; empty: the archive is missing or empty
        self._own_id = ""  # id that the files of the archive must have; empty: the store has not answered yet
        self._bound_id = ""  # id of the archive that the store was bound to at the last check
        archive.expect_id("")

    @property
    def is_foreign(self) -> bool:
        """Return whether the last check showed that the archive is missing, or the store is bound to another one."""
        return self._bound_id not in ("", self._id)

    @property
    def is_ready(self) -> bool:
        """Return whether the ids were compared once, and the archive is not known to be missing or another one."""
        return bool(self._bound_id) and not self.is_foreign

    def check(self) -> None:
        """Compare the ids once.

        Raises:
            InvalidSetting: The store is bound to another archive, or another archive is in the place of the first one.
            Unavailable: The archive or the store is unavailable.
            DamagedRecord: The file of the archive's id is damaged.
        """
        was_foreign = self.is_foreign
        archive_id = self._own_id or self._archive.find_id()
        self._archive.expect_id(archive_id)
        bound_id = self._store.bind_archive(archive_id) or self._store.bind_archive(self._archive.id())
        self._bound_id, self._id = bound_id, self._archive.find_id()
        if not self._own_id or self._id == bound_id:  # the first answer, or both were replaced
            self._own_id = bound_id
            self._archive.expect_id(bound_id)
        if self.is_foreign:
            state = f"has the id {self._id}" if self._id else "has no file archive-id"
            raise InvalidSetting(
                f"The archive {self._place!r} {state}, but ERRATA_REDIS_URL is used with the archive of id "
                f"{self._bound_id:.64}. Set ERRATA_ARCHIVE of all processes to the same place, and mount its volume. "
                "If the archive was replaced on purpose, stop all processes and delete the key errata:archive in "
                "Redis.",
                field="ERRATA_ARCHIVE",
            )
        if was_foreign:
            _log.info("archive mismatch resolved")

    def watch(self) -> None:
        """Compare the ids once; log an error instead of raising InvalidSetting."""
        was_foreign = self.is_foreign
        try:
            self.check()
        except InvalidSetting as error:
            if not was_foreign:
                _log.error("archive mismatch", error=error.message)

    def allows_judging(self) -> bool:
        """Return whether results may be written to this archive; compare the ids if no check has succeeded yet."""
        if not self._bound_id:
            with suppress(Unavailable):
                self.watch()
        return not self.is_foreign
