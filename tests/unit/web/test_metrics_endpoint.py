"""Metrics on a real socket: generated once for several clients, and sent to a bounded number of clients."""

import asyncio
import http.client
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from service.telemetry import Metrics
from service.web import metrics_endpoint
from service.web.listener import Listener, make_listener

SOON = 20.0  # seconds; a deadline, not a measure
GET = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
BIG = 8 << 20  # bytes of the text, more than socket buffers hold


class Counted(Collector):
    """A collector with a large text that counts its calls."""

    def __init__(self) -> None:
        self.times = 0

    def collect(self) -> Iterator[Metric]:
        self.times += 1
        yield Metric("times", "x" * BIG, "gauge")


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
async def listener(counted: Counted) -> AsyncIterator[Listener]:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    registry.register(counted)
    counted.times = 0  # registration collects the names
    result = make_listener(metrics, lambda: True, ("127.0.0.1", 0))
    await result.start()
    yield result
    await result.stop()


async def scrape(listener: Listener) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return status, headers, and body of a response."""

    def get() -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=SOON)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(get)


def unread(listener: Listener) -> socket.socket:
    """Request the metrics and do not read the response."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(SOON)
    connection.connect(("127.0.0.1", listener.port))
    connection.sendall(GET)
    return connection


async def test_metrics_text_is_sent_completely(listener: Listener) -> None:
    status, headers, body = await scrape(listener)

    assert (status, int(headers["Content-Length"])) == (200, len(body))
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert body.count(b"x") >= BIG
    assert body.endswith(b"\n")


async def test_concurrent_requests_share_one_text(
    listener: Listener, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_endpoint, "CACHE_SECONDS", 60.0)  # a busy machine delays some requests
    answers = await asyncio.gather(*(scrape(listener) for _ in range(8)))

    assert {status for status, _, _ in answers} == {200}
    assert len({body for _, _, body in answers}) == 1
    assert counted.times == 1


async def test_metrics_text_is_cached(listener: Listener, counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_endpoint, "CACHE_SECONDS", 60.0)
    for _ in range(3):
        await scrape(listener)
    assert counted.times == 1


@pytest.mark.slow
async def test_requests_beyond_the_cache_limit_wait_for_the_next_text(
    listener: Listener, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_endpoint, "MAX_CACHE_HITS", 2)
    monkeypatch.setattr(metrics_endpoint, "CACHE_SECONDS", 3.0)
    for _ in range(3):  # a new connection and two retries
        await scrape(listener)
    early = asyncio.create_task(scrape(listener))
    done, _ = await asyncio.wait([early], timeout=0.3)
    assert (done, counted.times) == (set(), 1)

    assert (await early)[0] == 200
    assert counted.times == 2


@pytest.fixture
def unevictable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No response is evicted in this test."""
    monkeypatch.setattr(metrics_endpoint, "MIN_RESPONSE_SECONDS", 60.0)


@pytest.mark.usefixtures("unevictable")
async def test_too_many_requests_are_rejected_with_a_delay(listener: Listener) -> None:
    with ExitStack() as opened:
        for _ in range(metrics_endpoint.MAX_RESPONSES):
            connection = opened.enter_context(unread(listener))
            await asyncio.to_thread(connection.recv, 1)  # the response has started

        status, headers, _ = await scrape(listener)

        assert (status, headers["Retry-After"]) == (503, "1")


async def test_slow_reader_is_evicted(listener: Listener) -> None:
    with ExitStack() as opened:
        connections = [opened.enter_context(unread(listener)) for _ in range(metrics_endpoint.MAX_RESPONSES)]
        for connection in connections:
            await asyncio.to_thread(connection.recv, 1)
        await asyncio.sleep(metrics_endpoint.MIN_RESPONSE_SECONDS)

        assert (await scrape(listener))[0] == 200

        lengths = [await asyncio.to_thread(read_all, connection) for connection in connections[:1]]
        assert lengths[0] < BIG, "the oldest got all of it"


def read_all(connection: socket.socket) -> int:
    """Return the number of bytes until the connection is closed."""
    total = 0
    try:
        while piece := connection.recv(1 << 16):
            total += len(piece)
    except ConnectionError:
        pass
    return total
