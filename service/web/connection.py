"""A uvicorn connection with timeouts for slow clients and with information about the client certificate.

At most MAX_CONNECTIONS are open at the same time. A further connection replaces the one that has waited longest for a
request, so that a client that opens many idle connections does not lock out other clients or health checks.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0  # time limit for a TLS handshake, and for the request line and headers
READ_SECONDS = 30.0  # time limit to read READ_BYTES of a response, or the rest of it
READ_BYTES = 64 << 10
MAX_CONNECTIONS = 512  # half of the usual limit on open files of a process
CERTIFIED = "errata.certified"  # scope key: whether the connection has a client certificate
ABORT_CONNECTION = "errata.abort"  # scope key: a function that closes the connection immediately


class Connection(H11Protocol):
    """One connection; it is closed if the client is too slow."""

    _head_timeout: asyncio.TimerHandle | None = None
    _read_timeout: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout for the first request."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        has_certificate = bool(tls is not None and tls.getpeercert())
        values = {CERTIFIED: has_certificate, ABORT_CONNECTION: transport.abort}
        self.app = _ScopeMiddleware(self.app, values)  # type: ignore[assignment]
        self._idle_since = self.loop.time()
        if len(self.connections) > MAX_CONNECTIONS:
            self._evict_oldest()
        self._start_head_timeout()

    def data_received(self, data: bytes) -> None:
        """Parse data; the timeout runs until the request line and headers are complete."""
        self._start_head_timeout()
        super().data_received(data)
        if self._is_responding():
            self._cancel_head_timeout()

    def on_response_complete(self) -> None:
        """Start the timeouts for the next request and for the rest of the response."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        self._start_read_timeout()

    def send_400_response(self, msg: str) -> None:
        """Respond to invalid HTTP."""
        super().send_400_response(msg)
        self._start_read_timeout()

    def pause_writing(self) -> None:
        """Stop writing until the client has read a part of the response."""
        super().pause_writing()
        self._start_read_timeout()

    def resume_writing(self) -> None:
        """Continue to write."""
        super().resume_writing()
        self._cancel_read_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeouts."""
        self._cancel_head_timeout()
        super().connection_lost(exc)
        self._cancel_read_timeout()

    def _is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_receiving(self) -> bool:
        """Return whether the connection waits for a request or for the rest of its body."""
        return not self._is_responding() or self.conn.their_state is h11.SEND_BODY

    def _evict_oldest(self) -> None:
        """Close the connection that has waited longest, or the new one if no other waits for a request."""
        candidates = [
            connection
            for connection in self.connections
            if isinstance(connection, Connection) and connection._is_receiving()
        ]
        oldest = min(candidates, key=lambda connection: connection._idle_since)
        self.connections.discard(oldest)  # uvicorn removes it only later
        oldest.transport.abort()

    def _start_head_timeout(self) -> None:
        if self._head_timeout is None and not self._is_responding():
            self._head_timeout = self.loop.call_later(HEAD_SECONDS, self._on_head_timeout)

    def _cancel_head_timeout(self) -> None:
        if self._head_timeout is not None:
            self._head_timeout.cancel()
            self._head_timeout = None

    def _on_head_timeout(self) -> None:
        self._head_timeout = None
        self.transport.abort()

    def _start_read_timeout(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if self._read_timeout is None and unread:
            self._read_timeout = self.loop.call_later(READ_SECONDS, self._on_read_timeout, unread)

    def _cancel_read_timeout(self) -> None:
        if self._read_timeout is not None:
            self._read_timeout.cancel()
            self._read_timeout = None

    def _on_read_timeout(self, unread_before: int) -> None:
        self._read_timeout = None
        if self.transport.get_write_buffer_size() > max(0, unread_before - READ_BYTES):
            self.transport.abort()
        else:
            self._start_read_timeout()


class _ScopeMiddleware:
    """Adds values to the scope of each request."""

    def __init__(self, app: Any, values: Mapping[str, object]) -> None:
        self._app: ASGIApp = app
        self._values = values

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.update(self._values)
        await self._app(scope, receive, send)
