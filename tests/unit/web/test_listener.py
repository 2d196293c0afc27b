"""The HTTP server on a real socket: health checks, metrics, and metric labels."""

import asyncio
import http.client
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from service.telemetry import Metrics
from service.web.application import SiteContent
from service.web.listener import STOP_SECONDS, Listener, make_listener


@dataclass
class Reply:
    """A response."""

    status: int
    body: str
    headers: dict[str, str]


@dataclass
class Site:
    """A running server with a switch for readiness."""

    metrics: Metrics
    ready: bool = True
    listener: Listener = field(init=False)

    def __post_init__(self) -> None:
        self.listener = make_listener(self.metrics, lambda: self.ready, ("127.0.0.1", 0))

    async def request(self, path: str, method: str = "GET") -> Reply:
        def send() -> Reply:
            connection = http.client.HTTPConnection("127.0.0.1", self.listener.port, timeout=10)
            try:
                connection.request(method, path)
                response = connection.getresponse()
                headers = {name.lower(): value for name, value in response.getheaders()}
                return Reply(response.status, response.read().decode(), headers)
            finally:
                connection.close()

        return await asyncio.to_thread(send)

    def count(self, path: str, status: int) -> float:
        labels = {"path": path, "status": str(status)}
        return self.metrics.registry.get_sample_value("errata_http_requests_total", labels) or 0

    def paths(self) -> set[str]:
        families = self.metrics.registry.collect()
        return {sample.labels["path"] for family in families for sample in family.samples if "path" in sample.labels}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site(Metrics(CollectorRegistry()))
    await site.listener.start()
    yield site
    await site.listener.stop()


async def test_unready_process_is_alive(site: Site) -> None:
    site.ready = False

    assert (await site.request("/livez")).status == 200


async def test_readiness_is_evaluated_for_each_request(site: Site) -> None:
    for ready, status, body in ((True, 200, '{"ready":true}'), (False, 503, '{"ready":false}'), (True, 200, None)):
        site.ready = ready
        response = await site.request("/readyz")
        assert response.status == status
        assert body in (None, response.body)
        assert response.headers["content-type"] == "application/json"


async def test_metrics_can_be_parsed_by_prometheus(site: Site) -> None:
    site.metrics.analyses.labels("succeeded").inc(3)

    response = await site.request("/metrics")

    assert response.status == 200
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.body)}
    samples = {sample.labels["state"]: sample.value for sample in families["errata_analyses"].samples}
    assert samples["succeeded"] == 3


async def test_responses_are_counted_by_route_and_status(site: Site) -> None:
    await site.request("/livez")
    await site.request("/livez?from=somewhere")
    site.ready = False
    await site.request("/readyz")

    assert (site.count("/livez", 200), site.count("/readyz", 503)) == (2, 1)


async def test_unknown_paths_are_no_metric_labels(site: Site) -> None:
    for path in ("/etc/passwd", "/livez/", "/metrics%22%7D", "/" + "x" * 500, "/%00", "//livez", "/../livez"):
        assert (await site.request(path)).status in (307, 404)

    assert site.paths() == {"other", "/livez", "/readyz", "/metrics"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_routes_accept_only_get(site: Site, method: str) -> None:
    assert (await site.request("/metrics", method)).status == 405


async def test_server_header_is_not_sent(site: Site) -> None:
    assert "server" not in (await site.request("/livez")).headers


async def test_address_in_use_is_an_error_that_names_it(site: Site) -> None:
    port = site.listener.port
    second = make_listener(site.metrics, lambda: True, ("127.0.0.1", port))

    with pytest.raises(RuntimeError, match=f"127.0.0.1:{port}"):
        await second.start()
    assert (await site.request("/livez")).status == 200


async def test_stopped_listener_releases_its_port() -> None:
    site = Site(Metrics(CollectorRegistry()))
    await site.listener.start()
    port = site.listener.port
    await site.request("/livez")

    await site.listener.stop()

    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


async def test_a_download_that_runs_ends_within_the_grace_period() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first "
        await asyncio.sleep(STOP_SECONDS + 1)
        yield b"last"

    async def endpoint(_: Request) -> Response:
        return StreamingResponse(pieces())

    content = SiteContent([Route("/", endpoint)])
    listener = make_listener(Metrics(CollectorRegistry()), lambda: True, ("127.0.0.1", 0), content)
    await listener.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    start = await reader.readuntil(b"first ")

    await listener.stop(60)

    assert (start + await reader.read()).endswith(b"\r\n\r\nfirst last")
    writer.close()


async def test_listener_installs_no_signal_handlers() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    site = Site(Metrics(CollectorRegistry()))
    await site.listener.start()

    assert [signal.getsignal(number) for number in numbers] == before
    await site.listener.stop()


async def test_unstarted_listener_can_be_stopped() -> None:
    listener = make_listener(Metrics(CollectorRegistry()), lambda: True, ("127.0.0.1", 0))

    await listener.stop()

    assert listener.task is None


async def test_a_pipelined_request_is_not_logged_with_fields_of_the_request_before() -> None:
    fields: list[dict[str, object]] = []

    async def endpoint(_: Request) -> Response:
        fields.append(dict(structlog.contextvars.get_contextvars()))
        structlog.contextvars.bind_contextvars(caller="first")
        return PlainTextResponse("done")

    content = SiteContent([Route("/", endpoint)])
    listener = make_listener(Metrics(CollectorRegistry()), lambda: True, ("127.0.0.1", 0), content)
    await listener.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    heads = [f"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {name}\r\n" for name in ("one", "two")]
    writer.write(f"{heads[0]}\r\n{heads[1]}Connection: close\r\n\r\n".encode())
    responses = await reader.read()
    writer.close()
    await listener.stop()

    assert responses.count(b"HTTP/1.1 200") == 2
    assert fields == [{"request": "one"}, {"request": "two"}]
