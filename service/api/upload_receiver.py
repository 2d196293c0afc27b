"""Receive uploaded files: a header, then chunks, which a use case reads in a thread while they arrive."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple, TypeVar

from errata.errors import InvalidRequest, Unavailable

from service.api.upload_stream import UploadStream
from service.concurrency import UPLOAD_RETRY_SECONDS, ConcurrencyLimit
from service.paced_stream import PacedStream

MAX_CHUNK = 2 << 20  # bytes of the file in one message
Result = TypeVar("Result")


class UploadReceiver:
    """Receives the uploads of all services, a limited number at once. Used only on the event loop.

    Args:
        slots: The limit, which the pages share.
    """

    def __init__(self, slots: ConcurrencyLimit) -> None:
        self._threads = ThreadPoolExecutor(slots.limit, thread_name_prefix="uploader")
        self._slots = slots
        self._open: set[asyncio.Timeout] = set()

    def end_uploads(self) -> None:
        """End all uploads with a status that asks the client to send the file again."""
        for upload_timeout in self._open:
            if not upload_timeout.expired():
                upload_timeout.reschedule(0.0)

    async def receive(
        self,
        messages: AsyncIterator[Any],
        start: Callable[[Any], Callable[[UploadStream], Result]],
        has_header: bool = True,
    ) -> Result:
        """Receive a file, and return the result of its use case.

        Args:
            messages: Messages with a `header` or a `chunk` in `part`; without `has_header`, messages with a `chunk`.
            start: Returns the use case for a header; the argument is None if `has_header` is False.
            has_header: Whether the first message has a header.

        Raises:
            InvalidRequest: A message is invalid.
            TruncatedUpload: The sender is too slow.
            TooBusy: The limit is reached.
            Unavailable: The service is shutting down.
        """
        parts = PacedStream(_parts(messages, has_header), lambda part: len(part.chunk))
        try:
            async with asyncio.timeout(None) as upload_timeout:
                self._open.add(upload_timeout)
                use_case = start(_header(await parts.next()) if has_header else None)
                first = await parts.next()  # a caller that sends only a header does not occupy a slot
                return await self._run(use_case, first, parts)
        except TimeoutError as error:
            if not upload_timeout.expired():
                raise
            raise Unavailable(
                "The service is shutting down. Send the upload again.", retry_after=UPLOAD_RETRY_SECONDS
            ) from error
        finally:
            self._open.discard(upload_timeout)

    async def _run(
        self, use_case: Callable[[UploadStream], Result], part: "_Part | None", parts: "PacedStream[_Part]"
    ) -> Result:
        """Pass the chunks to a thread that runs the use case; return its result.

        The thread owns the slot: if the call ends early, the slot is released once the thread stops.
        """
        release = self._slots.acquire()
        stream = UploadStream()
        run = partial(copy_context().run, use_case, stream)
        result = asyncio.get_running_loop().run_in_executor(self._threads, run)

        def on_done(future: "asyncio.Future[Result]") -> None:
            release()
            stream.abort()  # otherwise `feed` could wait forever for a reader that has ended
            parts.stop()
            future.exception()  # asyncio logs exceptions that nobody retrieves

        result.add_done_callback(on_done)
        try:
            while part is not None:
                await stream.feed(_chunk(part))
                part = await parts.next()
            stream.close()
            return await asyncio.shield(result)  # canceling the future does not end the thread
        except BaseException:
            stream.abort()
            raise


class _Part(NamedTuple):
    """The content of a message of an upload."""

    name: str | None  # `header`, `chunk`, or None if the message is empty
    header: Any
    chunk: bytes


async def _parts(messages: AsyncIterator[Any], has_header: bool) -> AsyncIterator[_Part]:
    """Yield the content of each message. It reads `chunk` once, because protobuf copies it at every access."""
    async for message in messages:
        if has_header:
            yield _Part(message.WhichOneof("part"), message.header, message.chunk)
        else:
            yield _Part("chunk", None, message.chunk)


def _header(part: _Part | None) -> Any:
    if part is None:
        raise InvalidRequest("The upload is empty. Send the header first.", field="header")
    if part.name != "header":
        raise InvalidRequest(f"The first message is {_describe(part.name)}. Send the header first.", field="header")
    return part.header


def _chunk(part: _Part) -> bytes:
    if part.name != "chunk":
        raise InvalidRequest(
            f"A message after the header is {_describe(part.name)}. Send one header, then only chunks.", field="header"
        )
    if len(part.chunk) > MAX_CHUNK:
        raise InvalidRequest(
            f"Chunk of {len(part.chunk)} bytes is too large. Send at most {MAX_CHUNK} bytes in a chunk.",
            field="chunk",
        )
    return part.chunk


def _describe(part: str | None) -> str:
    return f"a {part}" if part else "empty"
