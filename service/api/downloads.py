"""Downloads: the slots of the calls that stream a file, and the chunks of the file."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import takewhile

from errata import v1 as pb
from errata.errors import TooBusy, Unavailable

from service.bounded_executor import BoundedExecutor
from service.caller import CALLER
from service.concurrency import ConcurrencyLimit

DOWNLOADS = frozenset(  # the methods that stream a file
    {
        "/errata.v1.AnalysisService/ExportVerdicts",
        "/errata.v1.AnalysisService/RenderReport",
        "/errata.v1.ReviewService/ExportReviews",
    }
)
MAX_DOWNLOADS = 32  # each occupies the memory of its file: 10 MB for the verdicts on 50,000 images with their evidence
MAX_OPEN = 512  # running and waiting
WAIT_SECONDS = 90.0  # maximum wait for a slot
MIN_SECONDS = 60.0  # time after which a download can be ended for one that waits
CHECK_SECONDS = 0.1  # interval between two checks for a free slot
RETRY_SECONDS = 2.0
CHUNK_BYTES = 64 << 10


class DownloadSlots:
    """The slots of downloads, of which an authenticated caller gets at most half.

    A download waits until a slot is free. If no slot is free, the oldest download whose slot the caller can use ends,
    provided that it has run for MIN_SECONDS. A client can therefore pause or read slowly unless others wait.
    """

    def __init__(self) -> None:
        self._open = ConcurrencyLimit(MAX_OPEN, "downloads", RETRY_SECONDS)
        self._running = ConcurrencyLimit(MAX_DOWNLOADS, "downloads", RETRY_SECONDS)
        self._downloads: dict[asyncio.Timeout, tuple[str, float]] = {}  # caller and start time, oldest first
        self._waiting: dict[object, str] = {}  # callers of the waiting downloads, in order
        self._is_stopped = False

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Occupy a slot while a block runs.

        Raises:
            TooBusy: No slot became free, or the block was ended for another download.
            Unavailable: The service is shutting down.
        """
        with self._open.slot():
            release = await self._acquire()
            try:
                async with asyncio.timeout(None) as download:
                    self._downloads[download] = CALLER.get().name, asyncio.get_running_loop().time()
                    yield
            except TimeoutError as error:
                if not download.expired():
                    raise
                raise TooBusy(
                    f"The download was ended after {MIN_SECONDS:g} seconds or more, because another one waited for its "
                    "slot. Start it again, and read it without pauses.",
                    retry_after=RETRY_SECONDS,
                ) from error
            finally:
                self._downloads.pop(download, None)
                release()

    def stop(self) -> None:
        """End the waiting downloads."""
        self._is_stopped = True

    async def _acquire(self) -> Callable[[], None]:
        """Wait for a slot, and return a function that releases it."""
        loop, waiter = asyncio.get_running_loop(), object()
        deadline = loop.time() + WAIT_SECONDS
        self._waiting[waiter] = CALLER.get().name
        try:
            while loop.time() < deadline:
                if self._is_stopped:
                    raise Unavailable(
                        "The service is shutting down. Start the download again.", retry_after=RETRY_SECONDS
                    )
                if self._is_next(waiter):
                    with suppress(TooBusy):
                        return self._running.acquire()
                    self._end_oldest(loop.time() - MIN_SECONDS)
                await asyncio.sleep(CHECK_SECONDS)
            return self._running.acquire()
        finally:
            del self._waiting[waiter]

    def _is_next(self, waiter: object) -> bool:
        """Return whether no earlier download waits that could use a free slot."""
        earlier = takewhile(lambda item: item[0] is not waiter, self._waiting.items())
        return all(self._running.is_share_used(caller) for _, caller in earlier)

    def _end_oldest(self, started_before: float) -> None:
        """End the oldest download if it started before a time. A caller that gets no further slot ends only its own."""
        caller = CALLER.get().name
        is_limited = self._running.is_share_used(caller)
        for download, (name, started) in self._downloads.items():
            if name == caller or not is_limited:
                if started <= started_before and not download.expired():
                    download.reschedule(0.0)
                return


async def send_file(
    executor: BoundedExecutor, start: Callable[[], Iterator[bytes]]
) -> AsyncGenerator[pb.FileChunk, None]:
    """Yield the chunks of a file.

    Args:
        executor: Calls the functions in its threads.
        start: Returns the pieces of the file. The pieces are produced in a thread too.
    """
    pieces = await executor.call(start)
    while (piece := await executor.call_admitted(next, pieces, None)) is not None:
        for position in range(0, len(piece), CHUNK_BYTES):
            yield pb.FileChunk(chunk=piece[position : position + CHUNK_BYTES])
