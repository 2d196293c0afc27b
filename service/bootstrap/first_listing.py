"""The first listing of the archive, which the service reads before it reports that it is ready."""

import asyncio
import math
import time
from threading import Event, Thread

import structlog
from errata.errors import ErrataError

from service.archive.port import Archive

LISTING_SECONDS = 60.0  # maximum wait for the listing; half of the startup probe's time in Kubernetes
POLL_SECONDS = 0.05  # interval between two checks whether the listing has ended
_log = structlog.get_logger()


class FirstListing:
    """Reads the first listing of the archive in a thread, so that later listings are fast once the service is ready.

    A listing that fails or takes too long counts as read: a service without its archive still serves calls that do not
    need it.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._ended = Event()
        self._deadline = math.inf

    def start(self) -> None:
        """Start the thread."""
        self._deadline = time.monotonic() + LISTING_SECONDS
        Thread(target=self._read, name="first-listing", daemon=True).start()

    async def wait(self, stopped: asyncio.Event) -> None:
        """Wait until the listing is read or `stopped` is set."""
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
            _log.warning("archive listing failed", error=error.message)
        except Exception:
            _log.exception("archive listing failed")
        finally:
            self._ended.set()
