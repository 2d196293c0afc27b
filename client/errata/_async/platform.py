"""Platform differences between the asyncio client and the blocking client: channels, files, and sleeping."""

import asyncio
import io
import threading
from asyncio import sleep
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from pathlib import Path
from socket import SocketIO
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast

import grpc

from errata.requests import CHUNK_BYTES
from errata.uploads import UploadFile, read_chunk

__all__ = ["open_channel", "open_file", "sleep", "upload_messages"]
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


def open_channel(server: str, credentials: grpc.ChannelCredentials | None, options: list[tuple[str, Any]]) -> Any:
    """Return a channel, which connects on the first call."""
    if credentials is None:
        return grpc.aio.insecure_channel(server, options=options)
    return grpc.aio.secure_channel(server, credentials, options=options)


async def open_file(path: str | Path) -> BinaryIO:
    """Open a file without a buffer in a thread. A buffer cannot be closed while a thread waits for a pipe."""
    opening = _start_in_thread(Path(path).open, "rb", buffering=0)
    try:
        return cast(BinaryIO, UploadFile(await asyncio.wrap_future(opening)))
    except asyncio.CancelledError:
        opening.add_done_callback(_close_file)  # the thread may still open the file
        raise


def _close_file(opening: Future[io.FileIO]) -> None:
    """Close the file of a call that has ended, unless it failed."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def upload_messages(
    message: type[Any], header: Any, content: BinaryIO, failures: list[Exception]
) -> AsyncIterator[Any]:
    """Yield the messages of an upload: the header unless it is None, then the content in chunks that a thread reads.

    Append an error of reading to `failures`, and raise it.
    """
    # A daemon thread that waits for the buffer of stdin, also in a wrapper, would abort the interpreter at its end.
    run = _run_in_thread if isinstance(content, UploadFile | io.FileIO | SocketIO) else asyncio.to_thread
    if header is not None:
        yield message(header=header)
    try:
        while chunk := await run(read_chunk, content, CHUNK_BYTES):
            yield message(chunk=chunk)
    except Exception as error:
        failures.append(error)
        raise


async def _run_in_thread(
    function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Like `asyncio.to_thread`, in a thread of `_start_in_thread`."""
    return await asyncio.wrap_future(_start_in_thread(function, *args, **kwargs))


def _start_in_thread(
    function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Future[Result]:
    """Call a function in a daemon thread, for which the end of a program does not wait.

    The thread may wait for a pipe forever.
    """
    future = Future[Result]()
    call = partial(copy_context().run, function, *args, **kwargs)

    def run() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)

    threading.Thread(target=run, name="file-reader", daemon=True).start()
    return future
