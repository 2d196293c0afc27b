"""Timeouts of a client that gRPC cannot represent, and uploads whose `read` raises StopIteration."""

import asyncio
import io
from collections.abc import Iterator

import pytest
from errata import AsyncClient, Client
from errata.errors import InvalidInput
from running_service import Running


@pytest.mark.parametrize("seconds", [1e10, float("inf")])
def test_a_very_long_timeout_is_no_timeout(running: Running, seconds: float) -> None:
    with Client(running.addresses.grpc, deadline=seconds) as client:
        analysis = client.analyze("demo:efficientnet_lite0", "demo")

        assert [*client.watch(analysis, timeout=seconds)][-1].state == client.get(analysis.name).state


class Exhausted(io.RawIOBase):
    """A stream whose `read` raises StopIteration, as `next` of an iterator does."""

    def __init__(self) -> None:
        self._chunks: Iterator[bytes] = iter([b"file_name,predicted_class\n"])

    def read(self, size: int = -1) -> bytes:
        return next(self._chunks)


def test_a_stream_that_raises_stop_iteration_is_an_error_at_once(running: Running) -> None:
    async def upload() -> None:
        async with AsyncClient(running.addresses.grpc) as client:
            await client.upload(Exhausted(), "demo")  # type: ignore[arg-type]

    with pytest.raises(InvalidInput, match=r"its read\(\) raised StopIteration"):
        asyncio.run(asyncio.wait_for(upload(), 20))
    with Client(running.addresses.grpc) as client, pytest.raises(InvalidInput, match="raised StopIteration"):
        client.upload(Exhausted(), "demo")  # type: ignore[arg-type]
