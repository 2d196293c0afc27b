"""`/metrics`: generated at most once a second, and sent to a bounded number of clients at a time.

The endpoint needs no token. Its text is several megabytes long if there are many results. All responses share one text,
and a connection gets one piece of the text at a time: a client that does not read occupies the memory of only one
piece.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from errata.errors import TooBusy
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from service.evicting_limiter import EvictingLimiter
from service.web.connection import ABORT_CONNECTION

CACHE_SECONDS = 1.0  # time for which a text is reused
SLOW_SECONDS = 0.25  # the cache time grows with the time to generate the text,
MAX_CACHE_FACTOR = 4.0  # up to this multiple of CACHE_SECONDS
MAX_CACHE_HITS = (
    16  # responses with the same text; further requests wait for the next text, so that repetition has no benefit
)
MAX_RESPONSES = 32  # concurrent responses; a further response evicts the oldest
MIN_RESPONSE_SECONDS = 1.0  # time before a response can be evicted; until then, further requests are refused
PIECE = 32 << 10  # bytes
HEADERS = {"Content-Type": CONTENT_TYPE_LATEST}
_REFUSAL = PlainTextResponse("Too many requests for metrics. Try again later.\n", 503, {"Retry-After": "1"})


class MetricsEndpoint:
    """Answers requests for the metrics of a Prometheus registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._limiter = EvictingLimiter(MAX_RESPONSES, min_seconds=MIN_RESPONSE_SECONDS)
        self._text = b""
        self._expires = 0.0
        self._hits = 0  # number of responses with the current text
        self._next: asyncio.Task[bytes] | None = None

    async def endpoint(self, _: Request) -> Response:
        """Return a response that sends the metrics."""
        return _MetricsResponse(self)

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the metrics, or a refusal if there are too many requests."""
        is_started = False

        async def send_tracked(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            async with self._limiter.slot():
                await _send_in_pieces(await self._current_text(), send_tracked)
        except (TooBusy, TimeoutError):
            if not is_started:
                return await _REFUSAL(scope, receive, send)
            cast(Callable[[], None], scope[ABORT_CONNECTION])()  # the response was evicted after a part of it was sent
            await asyncio.sleep(0)  # lets the server notice the closed connection

    async def _current_text(self) -> bytes:
        """Return the cached text, or generate the next one, once for all requests."""
        if time.monotonic() < self._expires and self._hits < MAX_CACHE_HITS:
            self._hits += 1
            return self._text
        if self._next is None:
            self._next = asyncio.create_task(self._generate())
        return await asyncio.shield(self._next)

    async def _generate(self) -> bytes:
        """Generate the next text as soon as the cached one has expired."""
        try:
            await asyncio.sleep(max(0.0, self._expires - time.monotonic()))
            started = time.monotonic()
            self._text = await run_in_threadpool(generate_latest, self._registry)
            ended = time.monotonic()
            self._expires = ended + CACHE_SECONDS * min(MAX_CACHE_FACTOR, max(1.0, (ended - started) / SLOW_SECONDS))
            self._hits = 0
            return self._text
        finally:
            self._next = None


class _MetricsResponse(Response):
    """A response that sends the text that all responses share."""

    def __init__(self, endpoint: MetricsEndpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint.respond(scope, receive, send)


async def _send_in_pieces(content: bytes, send: Send) -> None:
    """Send a response piece by piece. Each piece waits until most of the previous ones are sent."""
    headers = Response(headers=HEADERS | {"Content-Length": str(len(content))}).raw_headers
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for start in range(0, len(content), PIECE):
        await send({"type": "http.response.body", "body": content[start : start + PIECE], "more_body": True})
    await send({"type": "http.response.body", "body": b""})
