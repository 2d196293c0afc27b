"""Checks of the archive at start: its first listing is read, and its id is the one that Redis knows."""

import asyncio
import time
from contextlib import suppress
from threading import Event, Thread

import structlog

from service.archive.port import Archive
from service.errors import ErrataError, InvalidSetting, Unavailable
from service.jobs.store import JobStore

CHECK_SECONDS = 5.0  # between two checks of the id
LISTING_SECONDS = 60.0  # that readiness waits for the first listing at most; half of what Kubernetes gives a start
LOOK_SECONDS = 0.05  # between two looks whether the listing has ended
_log = structlog.get_logger()


class FirstListing:
    """Reads the archive's first listing in a thread, so that a service is ready once it can list at once.

    A listing that fails or takes too long counts as read: an archive that is away must not keep a service from
    answering everything else, and calls that need the archive tell so themselves.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._ended = Event()
        self._until = time.monotonic() + LISTING_SECONDS

    def start(self) -> None:
        """Start to read."""
        self._until = time.monotonic() + LISTING_SECONDS
        Thread(target=self._read, name="first-listing", daemon=True).start()

    async def wait(self, stopped: asyncio.Event) -> None:
        """Wait until the listing is read, or the process is to stop."""
        while not self.is_read() and not stopped.is_set():
            await asyncio.sleep(LOOK_SECONDS)

    def is_read(self) -> bool:
        """Return whether the listing has ended or took too long."""
        return self._ended.is_set() or time.monotonic() > self._until

    def _read(self) -> None:
        began = time.monotonic()
        try:
            count = len(self._archive.list())
            _log.info("archive listed", analyses=count, seconds=round(time.monotonic() - began, 3))
        except ErrataError as error:
            _log.warning("the archive can't be listed", error=error.message)
        except Exception:
            _log.exception("the archive can't be listed")
        finally:
            self._ended.set()


class ArchiveIdentity:
    """Compares the archive's id with the one that the store is bound to: all processes must share one archive."""

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
