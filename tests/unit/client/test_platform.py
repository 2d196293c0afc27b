"""Tests of the files of the asyncio client."""

import asyncio
import os
from pathlib import Path

import pytest
from errata._async.platform import open_file, upload_messages


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


async def read_all(path: Path, failures: list[Exception]) -> list[dict[str, bytes]]:
    with await open_file(path) as content:
        return [message async for message in upload_messages(dict, b"header", content, failures)]


def test_messages_have_the_header_and_the_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")

    assert asyncio.run(read_all(tmp_path / "file", [])) == [{"header": b"header"}, {"chunk": b"content"}]


def test_an_error_of_the_thread_is_raised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(read_all(tmp_path / "missing", []))
