"""Tests of the files of the asyncio client."""

import asyncio
import gc
import io
import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path

import pytest
from errata._async.platform import open_file, upload_messages
from errata.uploads import UploadFile


def join_readers() -> None:
    """Wait for the threads that read files: one that begins to read after its test could read a file of the next."""
    for thread in threading.enumerate():
        if thread.name == "file-reader":
            thread.join(60)
            assert not thread.is_alive(), "a thread reads forever"


def test_the_end_of_a_program_does_not_wait_for_an_idle_pipe() -> None:
    reader, writer = os.pipe()

    async def cancel() -> None:
        with os.fdopen(reader, "rb", buffering=0) as content:
            reading = asyncio.ensure_future(anext(upload_messages(dict, None, content, [])))
            await asyncio.sleep(0)  # the thread is started
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    asyncio.run(cancel())  # must not wait for the thread

    os.close(writer)  # ends the thread
    join_readers()


def test_a_file_that_a_thread_reads_keeps_its_descriptor_when_it_is_closed(tmp_path: Path) -> None:
    """Otherwise, the next file could get the descriptor, and the thread would read a part of that file."""
    reader, writer = os.pipe()
    raw = os.fdopen(reader, "rb", buffering=0)
    assert isinstance(raw, io.FileIO)
    is_reading, content = threading.Event(), UploadFile(raw)

    def read() -> bytes | None:
        is_reading.set()
        return content.read(10)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        is_reading.wait()
        while not content._is_reading:
            time.sleep(0.001)
        content.close()
        with (tmp_path / "next").open("xb") as following:
            assert following.fileno() != reader and not raw.closed
        os.write(writer, b"late")
        assert reading.result(60) == b"late"

    assert raw.closed
    with pytest.raises(ValueError, match="closed"):
        content.read(1)
    os.close(writer)


def test_a_file_that_no_thread_reads_is_closed_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    raw = (tmp_path / "file").open("rb", buffering=0)
    with closing(UploadFile(raw)) as content:
        assert content.read(3) == b"con"
        assert Path(content.name) == tmp_path / "file"

    assert raw.closed


def test_a_file_whose_opening_is_cancelled_is_closed(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always", ResourceWarning)
    os.mkfifo(tmp_path / "pipe")

    async def cancel() -> int:
        opening = asyncio.ensure_future(open_file(tmp_path / "pipe"))
        await asyncio.sleep(0)  # the thread is started
        writer = os.open(tmp_path / "pipe", os.O_WRONLY)  # waits for the thread, which opens the other end
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        return writer

    writer = asyncio.run(cancel())
    join_readers()
    gc.collect()

    with pytest.raises(BrokenPipeError):
        os.write(writer, b"content")
    os.close(writer)
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("is_started", [True, False])
def test_a_file_whose_opening_is_cancelled_and_fails_logs_nothing(
    is_started: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    is_cancelled = threading.Event()

    def fail(*_: object, **__: object) -> None:
        is_cancelled.wait(60)
        raise FileNotFoundError

    async def cancel() -> None:
        opening = asyncio.ensure_future(open_file(tmp_path / "missing"))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        if not is_started:
            patch.setattr(threading.Thread, "start", lambda _: None)
        asyncio.run(cancel())
        is_cancelled.set()
        join_readers()

    assert caplog.messages == []


STDIN = """
import asyncio, gzip, io, sys
from errata._async.platform import upload_messages

class Raw(io.RawIOBase):
    readinto = sys.stdin.buffer.readinto1
    def readable(self):
        return True

async def read():
    try:
        await asyncio.wait_for(anext(upload_messages(dict, None, {content}, [])), 0.1)
    except TimeoutError:
        print("timeout", flush=True)

asyncio.run(read())
"""


@pytest.mark.processes
@pytest.mark.parametrize("content", ["sys.stdin.buffer", "gzip.GzipFile(fileobj=sys.stdin.buffer)", "Raw()"])
def test_a_program_that_stops_waiting_for_its_stdin_ends_normally(content: str) -> None:
    command, pipe = [sys.executable, "-c", STDIN.format(content=content)], subprocess.PIPE
    program = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    with program:
        assert program.stdout is not None and program.stdin is not None and program.stderr is not None
        assert program.stdout.readline() == "timeout\n"
        program.stdin.close()  # asyncio.run waits for the thread, which reads stdin
        assert (program.stderr.read(), program.wait()) == ("", 0)


VARIABLE: ContextVar[bytes] = ContextVar("variable")


class Stream(io.RawIOBase):
    """A file with the value of a context variable."""

    def read(self, size: int = -1) -> bytes:
        value, _ = VARIABLE.get(), VARIABLE.set(b"")
        return value


def test_a_file_is_read_in_the_context_of_the_caller() -> None:
    async def read() -> object:
        VARIABLE.set(b"content")
        return await anext(upload_messages(dict, None, Stream(), []))

    assert asyncio.run(read()) == {"chunk": b"content"}


async def read_all(path: Path, failures: list[Exception]) -> list[dict[str, bytes]]:
    with closing(await open_file(path)) as content:
        return [message async for message in upload_messages(dict, b"header", content, failures)]


def test_messages_have_the_header_and_the_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    assert asyncio.run(read_all(tmp_path / "file", [])) == [{"header": b"header"}, {"chunk": b"content"}]


def test_an_error_of_the_thread_is_raised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(read_all(tmp_path / "missing", []))
