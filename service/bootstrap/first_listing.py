"""The first listing of the archive, which a service reads before it is ready."""

import asyncio
import math
import time
from threading import Event, Thread

import structlog
from errata.errors import ErrataError

from service.archive.port import Archive

LISTING_SECONDS = 60.0  # that readiness waits for the listing at most; half of what Kubernetes gives a start
POLL_SECONDS = 0.05  # between two checks whether the listing has ended
_log = structlog.get_logger()


class FirstListing:
    """Reads the archive's first listing in a thread, so that a service is ready once it can list at once.

    A listing that fails or takes too long counts as read: a service whose archive is away still answers calls that do
    not need it.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._ended = Event()
        self._deadline = math.inf

    def start(self) -> None:
        """Start to read in a thread."""
        self._deadline = time.monotonic() + LISTING_SECONDS
        Thread(target=self._read, name="first-listing", daemon=True).start()

    async def wait(self, stopped: asyncio.Event) -> None:
        """Wait until the listing is read, or the process is to stop."""
        while not self.is_read() and not stopped.is_set():
            await asyncio.sleep(POLL_SECONDS)

    def is_read(self) -> bool:
        """Return whether the listing has ended or took too long."""
        return self._ended.is_set() or time.monotonic() > self._deadline

    def _read(self) -> None:
        started = time.monotonic()
        try:
            count = len(self._archive.list())
            _log.info("archive listed", analyses=count, seconds=round(time.monotonic() - started, 3))
        except ErrataError as error:
            _log.warning("the archive can't be listed", error=error.message)
        except Exception:
            _log.exception("the archive can't be listed")
        finally:
            self._ended.set()
