"""The HTTP server: uvicorn with limits on connections, and with TLS that reloads changed certificates."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import uvicorn

from service.certificates import Certificates
from service.telemetry import Metrics
from service.web.application import SiteContent, make_application
from service.web.connection import HEAD_SECONDS, Connection

KEEP_ALIVE_SECONDS = 15
STOP_SECONDS = 3.0  # wait for the responses in progress of a process without pages


class _Server(uvicorn.Server):
    """Uvicorn without signal handlers, which bootstrap installs, and with a timeout for TLS handshakes."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening; raise OSError if the address is in use."""
        config, loop = self.config, asyncio.get_running_loop()

        def make_connection() -> asyncio.Protocol:
            return Connection(config, self.server_state, {}, loop)

        server = await loop.create_server(
            make_connection,
            config.host,
            config.port,
            ssl=config.ssl,
            ssl_handshake_timeout=HEAD_SECONDS if config.ssl else None,
            backlog=config.backlog,
        )
        self.servers = [server]
        self.started = True


@dataclass
class Listener:
    """An HTTP server. `port` is available after `start`."""

    server: uvicorn.Server
    task: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        """Start listening; raise RuntimeError if the address is in use."""
        self.task = asyncio.create_task(self._serve())
        while not self.server.started:
            if self.task.done():
                host, port = self.server.config.host, self.server.config.port
                raise RuntimeError(f"Cannot listen on {host}:{port}. Check whether another process uses the port.")
            await asyncio.sleep(0.01)

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Stop listening, and wait for the responses in progress.

        Args:
            seconds: How long to wait; at least one second.
        """
        self.server.config.timeout_graceful_shutdown = int(max(1.0, seconds))
        self.server.should_exit = True
        if self.task is not None:
            await self.task

    @property
    def port(self) -> int:
        """Return the port of the server."""
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    async def _serve(self) -> None:
        with suppress(OSError):  # start raises an error
            await self.server.serve()


def make_listener(
    metrics: Metrics,
    ready: Callable[[], bool],
    address: tuple[str, int],
    content: SiteContent | None = None,
    certificates: Certificates | None = None,
) -> Listener:
    """Create an HTTP server.

    Args:
        metrics: Metrics of requests, served at `/metrics`.
        ready: Returns whether the service accepts work, for `/readyz`.
        address: Host, an IPv6 address in brackets, and port to listen on; port 0 for a free one.
        content: Further routes, and the conditions for requests; None: no further routes or conditions.
        certificates: Certificates for TLS; None for plain HTTP.

    Returns:
        The server, not yet started.
    """
    host, port = address
    config = _Config(
        make_application(metrics, ready, content or SiteContent()),
        host=host.strip("[]"),
        port=port,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    config.context = None if certificates is None else _tls_context(certificates)
    return Listener(_Server(config))


class _Config(uvicorn.Config):
    """Uvicorn's configuration with a given TLS context."""

    context: ssl.SSLContext | None = None

    def load(self) -> None:
        """Load the configuration."""
        super().load()
        self.ssl = self.context


def _tls_context(certificates: Certificates) -> ssl.SSLContext:
    """Return a TLS context that reloads changed files; raise InvalidSetting for invalid files."""
    context = certificates.load().context
    newest = [context]

    def on_client_hello(connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        fresh = certificates.reload()
        if fresh is not None:
            newest[0] = fresh.context
        connection.context = newest[0]

    context.sni_callback = on_client_hello  # type: ignore[assignment]
    return context
