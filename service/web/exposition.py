"""`/metrics`: generated at most once a second, whoever asks, and sent to a bounded number of readers at a time.

Anybody may ask for it, and it is megabytes with many results. All responses share one text, of which a piece at a time
is handed to a connection: a client that doesn't read holds no more than a piece.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from service.errors import TooBusy
from service.room import Room
from service.web.connection import ABORT

FRESH_SECONDS = 1.0  # for which a text is sent again
COSTLY_SECONDS = 0.25  # a text that takes longer to generate is sent again for longer, in proportion, but
MOST_FRESH = 4.0  # times as long at most: a scrape may have to wait for it
MOST_REPEATS = 16  # responses with the same text; more wait for the next one, so that nobody gains by asking faster
MOST_RESPONSES = 32  # in hand; one more ends the oldest
SPARED_SECONDS = 1.0  # for which a response isn't ended, and others are asked to come again
PIECE = 32 << 10  # bytes
HEADERS = {"Content-Type": CONTENT_TYPE_LATEST}
_REFUSAL = PlainTextResponse("too many readers: try again later\n", 503, {"Retry-After": "1"})


class Exposition:
    """Answers requests for a registry's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._room = Room(MOST_RESPONSES, spared=SPARED_SECONDS)
        self._text = b""
        self._fresh_until = 0.0
        self._repeats = 0  # of this text
        self._next: asyncio.Task[bytes] | None = None

    async def endpoint(self, _: Request) -> Response:
        """Return a response that sends the metrics."""
        return _Shared(self)

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the metrics, unless there are too many readers."""
        is_started = False

        async def tracked(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            async with self._room.taken():
                await _send_in_pieces(await self._current(), tracked)
        except (TooBusy, TimeoutError):
            if not is_started:
                return await _REFUSAL(scope, receive, send)
            cast(Callable[[], None], scope[ABORT])()  # it made room; what was sent of it can't be taken back
            await asyncio.sleep(0)  # until the server has noticed

    async def _current(self) -> bytes:
        """Return the text, or the next one."""
        if time.monotonic() < self._fresh_until and self._repeats < MOST_REPEATS:
            self._repeats += 1
            return self._text
        if self._next is None:
            self._next = asyncio.create_task(self._generated())
        return await asyncio.shield(self._next)

    async def _generated(self) -> bytes:
        """Generate the next text when it is time."""
        try:
            await asyncio.sleep(max(0.0, self._fresh_until - time.monotonic()))
            started = time.monotonic()
            self._text = await run_in_threadpool(generate_latest, self._registry)
            ended = time.monotonic()
            self._fresh_until = ended + FRESH_SECONDS * min(MOST_FRESH, max(1.0, (ended - started) / COSTLY_SECONDS))
            self._repeats = 0
            return self._text
        finally:
            self._next = None


class _Shared(Response):
    """A response whose body isn't its own."""

    def __init__(self, exposition: Exposition) -> None:
        super().__init__()
        self._exposition = exposition

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._exposition.respond(scope, receive, send)


async def _send_in_pieces(content: bytes, send: Send) -> None:
    """Send a response piece by piece; each waits until the connection has taken most of those before it."""
    headers = Response(headers=HEADERS | {"Content-Length": str(len(content))}).raw_headers
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for start in range(0, len(content), PIECE):
        await send({"type": "http.response.body", "body": content[start : start + PIECE], "more_body": True})
    await send({"type": "http.response.body", "body": b""})
