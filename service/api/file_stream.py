"""Stream files to callers, a limited number at once."""

from collections.abc import AsyncGenerator, Callable, Iterator

from errata import v1 as pb

from service.concurrency import BoundedExecutor, ConcurrencyLimit
from service.paced_stream import READ_BYTES

MAX_DOWNLOADS = 32  # each occupies the memory of its file: 10 MB for the verdicts on 50,000 images with their evidence
RETRY_SECONDS = 2.0


class FileSender:
    """Sends the files of all services. A download occupies a slot until its stream ends."""

    def __init__(self, executor: BoundedExecutor) -> None:
        self._executor = executor
        self._downloads = ConcurrencyLimit(MAX_DOWNLOADS, "downloads", RETRY_SECONDS)

    async def send(self, start: Callable[[], Iterator[bytes]]) -> AsyncGenerator[pb.FileChunk, None]:
        """Yield the chunks of a file.

        Args:
            start: Returns the pieces of the file. It is called in a thread, where the pieces are produced too.

        Raises:
            TooBusy: The limit is reached.
        """
        with self._downloads.slot():
            pieces = await self._executor.call(start)
            while (piece := await self._executor.call_admitted(next, pieces, None)) is not None:
                for position in range(0, len(piece), READ_BYTES):
                    yield pb.FileChunk(chunk=piece[position : position + READ_BYTES])
