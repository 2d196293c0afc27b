"""Objects of a store that hangs: calls time out, and then fail immediately until the store answers again."""

import asyncio
import time
from typing import Any

import pytest
from errata.errors import Unavailable
from fsspec.asyn import AsyncFileSystem

from service.archive import files
from service.archive.files import ObjectFiles


class SlowFileSystem(AsyncFileSystem):
    """A store with one object, which hangs on request."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False
        self.calls = 0

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        self.calls += 1
        while self.hangs:
            await asyncio.sleep(0.01)
        return b"content"

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        while self.hangs:
            await asyncio.sleep(0.01)
        return {"name": path, "size": 7, "type": "file"}


def test_a_store_that_hangs_blocks_no_further_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "CALL_SECONDS", 0.6)
    store = SlowFileSystem()
    objects = ObjectFiles(store, "/archive")
    assert objects.read("a") == b"content"
    store.hangs = True

    with pytest.raises(Unavailable, match="the object store does not answer"):
        objects.read("a")
    calls = store.calls
    for _ in range(5):
        with pytest.raises(Unavailable, match="the object store does not answer"):
            objects.read("a")
    assert store.calls == calls

    store.hangs = False
    deadline = time.monotonic() + 10
    while not _is_readable(objects):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _is_readable(objects: ObjectFiles) -> bool:
    try:
        return objects.read("a") == b"content"
    except Unavailable:
        return False
