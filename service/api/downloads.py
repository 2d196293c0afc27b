"""Send files in chunks. Each download occupies a slot, for which it waits."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from errata import v1 as pb
from errata.errors import ErrataError, TooBusy, Unavailable

from service.api.messages import Context, write_message
from service.bounded_executor import BoundedExecutor
from service.caller import CALLER
from service.concurrency import ConcurrencyLimit

MAX_DOWNLOADS = 32  # each occupies the memory of its file: 10 MB for the verdicts on 50,000 images with their evidence
MAX_OPEN = 512  # running and waiting
WAIT_SECONDS = 90.0  # maximum wait for a slot
MAX_PAUSE_SECONDS = 30.0  # maximum duration of a write while others wait
MIN_RATE = 4 << 10  # minimum average of bytes per second while others wait
RETRY_SECONDS = 2.0
CHUNK_BYTES = 64 << 10


@dataclass(eq=False)
class _Download:
    caller: str
    error: ErrataError  # raised at the timeout
    timeout: asyncio.Timeout
    slot: ExitStack = field(default_factory=ExitStack)  # releases the slot
    has_slot: asyncio.Event = field(default_factory=asyncio.Event)
    wait_budget: float = MAX_PAUSE_SECONDS  # seconds; each MIN_RATE bytes that the client reads add one

    def end(self, error: ErrataError) -> None:
        """Release the slot, and raise an error in the task of the download."""
        self.slot.close()
        self.error = error
        if not self.timeout.expired():  # `reschedule` raises for an expired timeout
            self.timeout.reschedule(0.0)


class FileSender:
    """Sends the files of all services. Used only on the event loop.

    Downloads get slots in the order of their requests. An authenticated caller gets at most half of the slots, and its
    further downloads do not delay those of others. A download ends for a waiting one only if its client reads no chunk
    for MAX_PAUSE_SECONDS, or is on average slower than MIN_RATE. A longer pause counts as MAX_PAUSE_SECONDS, and the
    time in which the service computes the file does not count.

    Args:
        executor: The threads of short calls, which check requests.
        file_executor: The threads that compute files.
    """

    def __init__(self, executor: BoundedExecutor, file_executor: BoundedExecutor) -> None:
        self._executor = executor
        self._file_executor = file_executor
        self._open = ConcurrencyLimit(MAX_OPEN, "downloads", RETRY_SECONDS)
        self._slots = ConcurrencyLimit(MAX_DOWNLOADS, "downloads", RETRY_SECONDS)
        self._waiting: dict[_Download, None] = {}  # in order of their requests
        self._slow: dict[_Download, None] = {}  # those that can end for others
        self._is_stopped = False

    def stop(self) -> None:
        """End the waiting downloads, which would otherwise delay the shutdown."""
        self._is_stopped = True
        while self._waiting:
            self._waiting.popitem()[0].end(_shutting_down())

    async def send(self, context: Context, prepare: Callable[[], Callable[[], Iterator[bytes]]]) -> None:
        """Send a file. The functions are called, and the pieces are produced, in threads.

        Args:
            context: The context of the call.
            prepare: Checks the request before the download waits. Returns a function, which is called after the wait
                and returns the pieces of the file.

        Raises:
            TooBusy: No slot became free, or the client read too slowly while others waited.
            Unavailable: The service is shutting down.
        """
        with self._open.slot():
            start = await self._executor.call_admitted(prepare)
            if self._is_stopped:
                raise _shutting_down()
            no_slot = TooBusy(
                f"Too many downloads: no slot became free within {WAIT_SECONDS:g} seconds. At most "
                f"{self._slots.limit} run at once, and half of them with one token. Try again later.",
                retry_after=RETRY_SECONDS,
            )
            download = _Download(CALLER.get().name, no_slot, asyncio.timeout(WAIT_SECONDS))
            pieces: Iterator[bytes] | None = None
            piece: bytes | None = None
            try:
                async with download.timeout:
                    self._waiting[download] = None
                    self._assign_slots()
                    await download.has_slot.wait()
                    download.timeout.reschedule(None)
                    pieces = await self._file_executor.call_admitted(start)
                    while (piece := await self._file_executor.call_admitted(next, pieces, None)) is not None:
                        for position in range(0, len(piece), CHUNK_BYTES):
                            await self._write(download, context, piece[position : position + CHUNK_BYTES])
            except TimeoutError as error:
                if not download.timeout.expired():
                    raise
                raise download.error from error
            finally:
                pieces = piece = None  # a client that does not read delays the error, whose traceback has this frame
                self._waiting.pop(download, None)
                download.slot.close()
                self._assign_slots()

    async def _write(self, download: _Download, context: Context, chunk: bytes) -> None:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        timer = loop.call_later(min(MAX_PAUSE_SECONDS, download.wait_budget), self._add_slow, download)
        try:
            await write_message(context, pb.FileChunk(chunk=chunk))
        finally:
            timer.cancel()
            self._slow.pop(download, None)
        download.wait_budget += len(chunk) / MIN_RATE - min(MAX_PAUSE_SECONDS, loop.time() - started_at)

    def _add_slow(self, download: _Download) -> None:
        self._slow[download] = None
        self._assign_slots()

    def _assign_slots(self) -> None:
        """Give waiting downloads the free slots, and the slots of slow downloads, which end."""
        for download in list(self._waiting):
            is_share_used = self._slots.is_share_used(download.caller)
            if is_share_used or self._slots.in_use >= self._slots.limit:
                usable = (slow for slow in self._slow if slow.caller == download.caller or not is_share_used)
                if (slow := next(usable, None)) is None:
                    continue
                del self._slow[slow]
                slow.end(
                    TooBusy(
                        "The client read too slowly while another download waited for its slot. Start the download "
                        f"again, read at least {MIN_RATE} bytes a second, and pause for at most "
                        f"{MAX_PAUSE_SECONDS:g} seconds.",
                        retry_after=RETRY_SECONDS,
                    )
                )
            del self._waiting[download]
            download.slot.callback(self._slots.acquire(download.caller))
            download.has_slot.set()


def _shutting_down() -> Unavailable:
    return Unavailable("The service is shutting down. Start the download again.", retry_after=RETRY_SECONDS)
