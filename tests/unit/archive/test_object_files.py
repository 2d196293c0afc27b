"""Objects of a store that hangs: calls time out, and then fail immediately until the store answers again."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from errata.errors import Unavailable
from fsspec.asyn import AsyncFileSystem, sync

from service.archive import files
from service.archive.files import ObjectFiles, PartlyWritten, open_files


class SlowFileSystem(AsyncFileSystem):
    """A store with the object `a`, which hangs on request."""

    cachable = False
    is_listing_slow = False  # whether a listing needs several probes

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False
        self.calls = 0

    async def _answer(self) -> None:
        self.calls += 1
        while self.hangs:
            await asyncio.sleep(0.01)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        await self._answer()
        return b"content"

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        await self._answer()

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        await self._answer()
        return {"name": path, "size": 7, "type": "file"}

    async def _rm_file(self, path: str, **_: Any) -> None:
        await self._answer()

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[dict[str, Any]]:
        await self._answer()
        if self.is_listing_slow:
            calls = self.calls
            while self.calls < calls + 3:
                await asyncio.sleep(0.01)
        return [{"name": f"{path}/a", "size": 7, "type": "file"}]


CALLS: dict[str, Callable[[ObjectFiles], object]] = {
    "read": lambda objects: objects.read("a"),
    "write": lambda objects: objects.write({"a": b"content"}),
    "create": lambda objects: objects.create("a", b"content"),
    "delete": lambda objects: objects.delete("a"),
    "list": lambda objects: objects.names(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_store_that_hangs_blocks_no_further_calls(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[ObjectFiles], object]
) -> None:
    for name in ("CALL_SECONDS", "READ_SECONDS", "LIST_SECONDS"):
        monkeypatch.setattr(files, name, 0.6)
    store = SlowFileSystem()
    objects = ObjectFiles(store, "/archive")
    call(objects)
    store.hangs = True

    with pytest.raises(Unavailable, match="the object store does not answer"):
        call(objects)
    probed = store.calls + 1
    for _ in range(5):
        with pytest.raises(Unavailable, match="the object store does not answer"):
            call(objects)
    assert store.calls <= probed

    monkeypatch.undo()
    store.hangs = False
    deadline = time.monotonic() + 10
    while not _is_readable(objects):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_listing_fails_when_the_store_stops_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CALL_SECONDS", 0.6)
    monkeypatch.setattr(files, "LIST_PROBE_SECONDS", 0.01)
    store = SlowFileSystem()
    objects = ObjectFiles(store, "/archive")
    store.hangs = True

    with pytest.raises(Unavailable, match="the object store does not answer"):
        objects.names()
    assert store.calls >= 2  # the listing and its probe
    store.hangs = False


def test_a_slow_listing_of_a_store_that_answers_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LIST_PROBE_SECONDS", 0.01)
    store = SlowFileSystem()
    store.is_listing_slow = True

    assert ObjectFiles(store, "/archive").names() == {"a"}
    assert store.calls >= 4


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_listing_that_ends_before_its_probe_logs_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_listed: bool
) -> None:
    monkeypatch.setattr(files, "CALL_SECONDS", 0.6)
    monkeypatch.setattr(files, "LIST_PROBE_SECONDS", 0.01)
    store, is_probed = SlowFileSystem(), threading.Event()

    async def hang(_: str) -> None:
        is_probed.set()
        try:
            await asyncio.sleep(1e6)
        finally:
            raise ConnectionError("closed")

    async def list_until_probed(path: str, **_: Any) -> list[dict[str, Any]]:
        while not (is_listed and is_probed.is_set()):
            await asyncio.sleep(0.01)
        return [{"name": f"{path}/a", "size": 7, "type": "file"}]

    store._exists, store._ls = hang, list_until_probed

    with nullcontext() if is_listed else pytest.raises(Unavailable, match="does not answer"):
        assert ObjectFiles(store, "/archive").names() == {"a"}
    sync(store.loop, asyncio.sleep, 0.05)  # the cancelled tasks end
    gc.collect()
    assert is_probed.is_set()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_all_folders_of_an_archive_share_one_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CALL_SECONDS", 0.6)
    store = SlowFileSystem()
    monkeypatch.setattr(files, "open_file_system", lambda *_: (store, "/archive"))
    archive, reviews, audit = (open_files("slow://shared", folder) for folder in ("", "reviews", "audit"))
    store.hangs = True

    with pytest.raises(Unavailable, match="the object store does not answer"):
        reviews.write({"a": b"content"})
    probed = store.calls + 1
    for objects in (archive, reviews, audit):
        with pytest.raises(Unavailable, match="the object store does not answer"):
            objects.names()
    assert store.calls <= probed
    store.hangs = False


@pytest.mark.parametrize(
    "error", [FileNotFoundError("no bucket"), PermissionError(13, "denied"), NotImplementedError()]
)
def test_a_write_that_the_store_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """S3 reports a missing bucket as a missing file."""

    async def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(SlowFileSystem, "_pipe_file", refuse)
    store = SlowFileSystem()
    for name in ("write", "create"):
        with pytest.raises(Unavailable, match="The archive could not be written") as refused:
            CALLS[name](ObjectFiles(store, "/archive"))
        assert "no bucket" not in refused.value.message  # the text of the store is only for the log
        assert all(str(text) in str(refused.value) for text in error.args[-1:])


@pytest.mark.parametrize(("refused", "is_partly_written"), [("/archive/a", False), ("/archive/b", True)])
def test_a_failed_write_after_the_first_file_is_partly_written(
    monkeypatch: pytest.MonkeyPatch, refused: str, is_partly_written: bool
) -> None:
    async def write(_: object, path: str, *__: object, **___: object) -> None:
        if path == refused:
            raise ConnectionError("closed")

    monkeypatch.setattr(SlowFileSystem, "_pipe_file", write)
    with pytest.raises(Unavailable) as error:
        ObjectFiles(SlowFileSystem(), "/archive").write({"a": b"1", "b": b"2"})
    assert isinstance(error.value, PartlyWritten) is is_partly_written
    assert error.value.retry_after is not None


def _is_readable(objects: ObjectFiles) -> bool:
    try:
        return objects.read("a") == b"content"
    except Unavailable:
        return False
