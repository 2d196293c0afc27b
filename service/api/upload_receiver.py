"""Receive uploaded files: a header, then chunks, which a use case reads in a thread while they arrive."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from errata.errors import InvalidRequest

from service.api.messages import parse_message
from service.api.upload_stream import UploadStream
from service.concurrency import ConcurrencyLimit, interrupted_upload
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
        self, requests: AsyncIterator[bytes], kind: type[Any], start: Callable[[Any], Callable[[UploadStream], Result]]
    ) -> Result:
        """Receive a file, and return the result of its use case.

        Args:
            requests: Encoded messages of type `kind`.
            kind: A message type with the fields `header` and `chunk`, or only `chunk`.
            start: Returns the use case for a header; the argument is None if `kind` has no header.

        Raises:
            InvalidRequest: A message is invalid.
            TruncatedUpload: The sender is too slow.
            TooBusy: The limit is reached.
            Unavailable: The service is shutting down.
        """
        messages = PacedStream(requests)
        try:
            async with asyncio.timeout(None) as upload_timeout:
                self._open.add(upload_timeout)
                use_case = start(_header(await messages.next(), kind) if _has_header(kind) else None)
                first = await messages.next()  # a caller that sends only a header does not occupy a slot
                return await self._run(use_case, first, messages, kind)
        except TimeoutError as error:
            if not upload_timeout.expired():
                raise
            raise interrupted_upload() from error
        finally:
            self._open.discard(upload_timeout)

    async def _run(
        self, use_case: Callable[[UploadStream], Result], message: bytes | None, messages: PacedStream, kind: type[Any]
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
            messages.stop()
            future.exception()  # asyncio logs exceptions that nobody retrieves

        result.add_done_callback(on_done)
        try:
            while message is not None:
                await stream.feed(_chunk(message, kind))
                message = await messages.next()
            stream.close()
            return await asyncio.shield(result)  # canceling the future does not end the thread
        except BaseException:
            stream.abort()
            raise


def _has_header(kind: type[Any]) -> bool:
    return "header" in kind.DESCRIPTOR.fields_by_name


def _header(content: bytes | None, kind: type[Any]) -> Any:
    if content is None:
        raise InvalidRequest("The upload is empty. Send the header first.", field="header")
    message = parse_message(kind.FromString, content)
    if message.WhichOneof("part") != "header":
        raise InvalidRequest(f"The first message is {_describe(message)}. Send the header first.", field="header")
    return message.header


def _chunk(content: bytes, kind: type[Any]) -> bytes:
    message = parse_message(kind.FromString, content)
    if _has_header(kind) and message.WhichOneof("part") != "chunk":
        raise InvalidRequest(
            f"A message after the header is {_describe(message)}. Send one header, then only chunks.", field="header"
        )
    chunk: bytes = message.chunk  # read once, because protobuf copies it at every access
    if len(chunk) > MAX_CHUNK:
        raise InvalidRequest(
            f"Chunk of {len(chunk)} bytes is too large. Send at most {MAX_CHUNK} bytes in a chunk.", field="chunk"
        )
    return chunk


def _describe(message: Any) -> str:
    part = message.WhichOneof("part")
    return f"a {part}" if part else "empty"
