"""The gRPC and HTTP servers of a process, from start to graceful shutdown."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog
from errata.errors import ErrataError, Unavailable
from starlette.responses import Response

from service.analyses.ports import Ports
from service.api.credentials import server_credentials
from service.api.server import make_server
from service.bootstrap.security import Security, split_address
from service.settings import Settings
from service.telemetry import Metrics
from service.web import gates, pages
from service.web.gates import Gates
from service.web.hooks.endpoint import Caller, Hooks
from service.web.listener import Listener, make_listener
from service.web.pages import Pages, http_error

READY_SECONDS = 0.05  # interval between two checks whether the process is ready
_log = structlog.get_logger()


@dataclass(frozen=True)
class Addresses:
    """The addresses on which a service listens."""

    grpc: str
    http: str


@dataclass(frozen=True)
class Servers:
    """The servers of a process, and the callbacks of their shutdown."""

    ports: Ports
    metrics: Metrics
    settings: Settings
    is_ready: Callable[[], bool]  # whether the dependencies of calls are available
    before_stop: Callable[[], None]  # ends the analyses that watches wait for
    after_stop: Callable[[float], None]  # gets the remaining seconds of the grace period
    security: Security  # the bind addresses are already checked
    callers: Mapping[str, Caller] = field(default_factory=dict)  # registries that may call webhooks

    async def serve(self, stopped: asyncio.Event, on_ready: Callable[[Addresses], None]) -> None:
        """Serve until `stopped` is set, and then shut down gracefully.

        The shutdown marks the process as not ready, calls `before_stop`, refuses new calls, waits for open calls, and
        calls `after_stop`.

        Args:
            stopped: The event that ends the servers.
            on_ready: Called with the addresses once the servers listen.

        Raises:
            Unavailable: An address is in use.
        """
        settings = self.settings
        security, certificates = self.security, self.security.certificates()
        grpc_host, grpc_port = split_address(settings.grpc_address)
        http_host, http_port = split_address(settings.http_address)
        try:
            server = make_server(
                self.ports,
                self.metrics,
                f"{grpc_host}:{grpc_port}",
                settings.max_uploads,
                security.authorizer,
                None if certificates is None else server_credentials(certificates),
            )
        except RuntimeError as error:
            raise address_in_use("ERRATA_GRPC_ADDRESS", settings.grpc_address) from error
        is_serving = False

        def is_ready() -> bool:
            return is_serving and self.is_ready()

        families = (
            Hooks(self.ports, self.callers, self.metrics),
            Gates(self.ports, settings.public_url),
            Pages(self.ports, self.metrics),
        )
        public_host = urlsplit(settings.public_url).hostname
        listener = make_listener(
            self.metrics,
            is_ready,
            http_host.strip("[]"),
            http_port,
            [route for family in families for route in family.routes()],
            http_error,
            allowed_hosts=None if security.authorizer.tokens is not None else [public_host] if public_host else [],
            access=security.authorizer,
            refusal=_refusal,
            certificates=security.certificates(),
            serve_metrics=not settings.metrics_address,
        )
        listeners = [await start_listener(listener, "ERRATA_HTTP_ADDRESS", settings.http_address)]
        if settings.metrics_address:
            host, port = split_address(settings.metrics_address)
            metrics_listener = make_listener(
                self.metrics, is_ready, host.strip("[]"), port, certificates=security.certificates()
            )
            listeners.append(await start_listener(metrics_listener, "ERRATA_METRICS_ADDRESS", settings.metrics_address))
        await server.serve()
        is_serving = True
        addresses = Addresses(f"{grpc_host}:{server.port}", f"{http_host}:{listener.port}")
        self.metrics.ready.set_function(lambda: float(is_ready()))
        _log.info("listening", grpc=addresses.grpc, http=addresses.http)
        on_ready(addresses)
        log_ready = asyncio.create_task(log_when_ready(is_ready, "ready", grpc=addresses.grpc, http=addresses.http))
        try:
            await stopped.wait()
        finally:
            is_serving = False
            await cancel(log_ready)
            _log.info("stopping", grace_seconds=settings.grace_seconds)
            loop = asyncio.get_running_loop()
            deadline = loop.time() + settings.grace_seconds
            await loop.run_in_executor(None, self.before_stop)
            await server.stop(settings.grace_seconds)
            await loop.run_in_executor(None, self.after_stop, max(0.0, deadline - loop.time()))
            for running_listener in listeners:
                await running_listener.stop()
            for family in families:
                family.stop()
            _log.info("stopped")


def _refusal(path: str, error: ErrataError) -> Response:
    """Return the response to an unauthorized request: JSON for a gate, HTML for a page."""
    return gates.refusal(error) if path == gates.PATH else pages.refusal(error)


async def log_when_ready(is_ready: Callable[[], bool], event: str, **fields: str) -> None:
    """Wait until the process is ready, and then log an event."""
    while not is_ready():
        await asyncio.sleep(READY_SECONDS)
    _log.info(event, **fields)


async def cancel(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def start_listener(listener: Listener, variable: str, address: str) -> Listener:
    """Start and return a listener; raise Unavailable if its address is in use."""
    try:
        await listener.start()
    except RuntimeError as error:
        raise address_in_use(variable, address) from error
    return listener


def address_in_use(variable: str, address: str) -> Unavailable:
    """Return the error for an address that can't be bound."""
    return Unavailable(f"Can't listen on {address}; the address may be in use. Set {variable} to another address.")
