"""A connection to the HTTP listener: uvicorn's, but that a head must come in time, an answer must be read, and certificates are seen.

There may be MOST_CONNECTIONS at once. One more takes the place of the one that has waited longest for a request, so that
who opens many and says nothing doesn't keep others, or a probe, out.
"""  # noqa: E501

import asyncio
from collections.abc import Mapping
from typing import Any

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0  # that a TLS handshake, or the first line and the headers of a request, may take
UNREAD_SECONDS = 30.0  # in which a caller reads READ_BYTES of an answer, or what is left of it
READ_BYTES = 64 << 10
MOST_CONNECTIONS = 512  # half of the files that a process may usually open
CERTIFIED = "errata.certified"  # in the scope: whether the connection has a client certificate
ABORT_CONNECTION = "errata.abort"  # in the scope: closes the connection at once, whatever is unsent


class Connection(H11Protocol):
    """One connection; who trickles, says nothing, or doesn't read, is cut off."""

    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the first request is waited for."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certified = bool(tls is not None and tls.getpeercert())
        self.app = _ConnectionScope(self.app, {CERTIFIED: certified, ABORT_CONNECTION: transport.abort})  # type: ignore[assignment]
        self._idle_since = self.loop.time()
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take what came, and wait for the rest of a head."""
        self._expect_head()
        super().data_received(data)
        if self._is_answering():
            self._head_came()

    def on_response_complete(self) -> None:
        """Wait for the next request, and for what is left of the answer to be read."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        self._expect_reading()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and end."""
        super().send_400_response(msg)
        self._expect_reading()

    def pause_writing(self) -> None:
        """Write no more until some of it is read."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Write on."""
        super().resume_writing()
        self._was_read()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._head_came()
        super().connection_lost(exc)
        self._was_read()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_waiting(self) -> bool:
        """Say whether something is to come before there is an answer: a head, or the rest of a body."""
        return not self._is_answering() or self.conn.their_state is h11.SEND_BODY

    def _make_room(self) -> None:
        """Cut off who has waited longest; who comes, if all the others are being answered."""
        waiting = [
            connection
            for connection in self.connections
            if isinstance(connection, Connection) and connection._is_waiting()
        ]
        oldest = min(waiting, key=lambda item: item._idle_since)
        self.connections.discard(oldest)  # it is lost a little later
        oldest.transport.abort()

    def _expect_head(self) -> None:
        if self._late is None and not self._is_answering():
            self._late = self.loop.call_later(HEAD_SECONDS, self._cut_off)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _cut_off(self) -> None:
        self._late = None
        self.transport.abort()

    def _expect_reading(self) -> None:
        left = self.transport.get_write_buffer_size()
        if self._unread is None and left:
            self._unread = self.loop.call_later(UNREAD_SECONDS, self._look_what_was_read, left)

    def _was_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _look_what_was_read(self, before: int) -> None:
        self._unread = None
        if self.transport.get_write_buffer_size() > max(0, before - READ_BYTES):
            self.transport.abort()
        else:
            self._expect_reading()


class _ConnectionScope:
    """Adds facts about a connection to the scope of its requests."""

    def __init__(self, app: Any, facts: Mapping[str, object]) -> None:
        self._app: ASGIApp = app
        self._facts = facts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.update(self._facts)
        await self._app(scope, receive, send)
