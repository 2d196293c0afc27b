"""Stream a file to a caller."""

from collections.abc import AsyncIterator, Iterator

from errata import v1 as pb

from service.api.executors import BoundedExecutor

SEND_CHUNK = 1 << 20  # bytes of the file in one message of a download


async def stream_chunks(executor: BoundedExecutor, pieces: Iterator[bytes]) -> AsyncIterator[pb.FileChunk]:
    """Yield the pieces of a file, which are produced in a thread."""
    while (piece := await executor.call_admitted(next, pieces, None)) is not None:
        for start in range(0, len(piece), SEND_CHUNK):
            yield pb.FileChunk(chunk=piece[start : start + SEND_CHUNK])
