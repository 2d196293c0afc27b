"""A connection to the HTTP listener: uvicorn's, but that a head must come in time, and certificates are seen."""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0  # that the first line and the headers of a request may take
CERTIFIED = "errata.certified"  # in the scope: whether the connection has a client certificate


class Connection(H11Protocol):
    """One connection; who trickles, or says nothing, is cut off."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the first request is waited for."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        self.app = _Certified(self.app, bool(tls is not None and tls.getpeercert()))  # type: ignore[assignment]
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take what came, and wait for the rest of a head."""
        self._expect_head()
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_came()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._head_came()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._late is None and (self.cycle is None or self.cycle.response_complete):
            self._late = self.loop.call_later(HEAD_SECONDS, self._cut_off)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _cut_off(self) -> None:
        self._late = None
        self.transport.abort()


class _Certified:
    """Says in a call's scope whether its connection has a client certificate."""

    def __init__(self, app: Any, certified: bool) -> None:
        self._app: ASGIApp = app
        self._certified = certified

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[CERTIFIED] = self._certified
        await self._app(scope, receive, send)
