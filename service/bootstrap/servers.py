"""The edges around some ports: gRPC and HTTP, from start to graceful stop."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog
from errata.errors import ErrataError, Unavailable
from starlette.responses import Response

from service.analyses.ports import Ports
from service.api.credentials import server_credentials
from service.api.server import make_server
from service.bootstrap.security import Security, split
from service.settings import Settings
from service.telemetry import Metrics
from service.web import gates, pages
from service.web.gates import Gates
from service.web.hooks.endpoint import Caller, Hooks
from service.web.listener import Listener, make_listener
from service.web.pages import Pages, http_error

_log = structlog.get_logger()


@dataclass(frozen=True)
class Addresses:
    """Where a running service listens."""

    grpc: str
    http: str


@dataclass(frozen=True)
class Servers:
    """What listens, and what is done around its stop."""

    ports: Ports
    metrics: Metrics
    settings: Settings
    ready: Callable[[], bool]  # whether what the calls need is there
    before_stop: Callable[[], None]  # ends what watchers wait for
    after_stop: Callable[[float], None]  # given the seconds of grace that are left
    security: Security  # whose addresses have been checked
    callers: Mapping[str, Caller] = field(default_factory=dict)  # registries whose calls are taken

    async def serve(self, stopped: asyncio.Event, on_ready: Callable[[Addresses], None]) -> None:
        """Listen until `stopped` is set, then end gracefully.

        Not ready any more; `before_stop`; no new calls, calls in hand; `after_stop`.
        """
        settings = self.settings
        security, certificates = self.security, self.security.certificates()
        grpc_host, grpc_port = split(settings.grpc_address)
        http_host, http_port = split(settings.http_address)
        try:
            server = make_server(
                self.ports,
                self.metrics,
                f"{grpc_host}:{grpc_port}",
                settings.max_uploads,
                security.access,
                None if certificates is None else server_credentials(certificates),
            )
        except RuntimeError as error:
            raise taken("ERRATA_GRPC_ADDRESS", settings.grpc_address) from error
        serving = False
        families = (
            Hooks(self.ports, self.callers, self.metrics),
            Gates(self.ports, settings.public_url),
            Pages(self.ports, self.metrics),
        )
        public = urlsplit(settings.public_url).hostname
        listener = make_listener(
            self.metrics,
            lambda: serving and self.ready(),
            http_host.strip("[]"),
            http_port,
            [route for family in families for route in family.routes()],
            http_error,
            allowed_hosts=None if security.access.tokens is not None else [public] if public else [],
            access=security.access,
            refusal=_refusal,
            certificates=security.certificates(),
            serve_metrics=not settings.metrics_address,
        )
        listeners = [await started(listener, "ERRATA_HTTP_ADDRESS", settings.http_address)]
        if settings.metrics_address:
            host, port = split(settings.metrics_address)
            apart = make_listener(
                self.metrics,
                lambda: serving and self.ready(),
                host.strip("[]"),
                port,
                certificates=security.certificates(),
            )
            listeners.append(await started(apart, "ERRATA_METRICS_ADDRESS", settings.metrics_address))
        await server.serve()
        serving = True
        addresses = Addresses(f"{grpc_host}:{server.port}", f"{http_host}:{listener.port}")
        self.metrics.ready.set_function(lambda: float(serving and self.ready()))
        _log.info("ready", grpc=addresses.grpc, http=addresses.http)
        on_ready(addresses)
        try:
            await stopped.wait()
        finally:
            serving = False
            _log.info("stopping", grace_seconds=settings.grace_seconds)
            loop = asyncio.get_running_loop()
            until = loop.time() + settings.grace_seconds
            await loop.run_in_executor(None, self.before_stop)
            await server.stop(settings.grace_seconds)
            await loop.run_in_executor(None, self.after_stop, max(0.0, until - loop.time()))
            for listening in listeners:
                await listening.stop()
            for item in families:
                item.stop()
            _log.info("stopped")


def _refusal(path: str, error: ErrataError) -> Response:
    """Return the answer to a call that isn't let in, in the form of its route."""
    return gates.refusal(error) if path == gates.PATH else pages.refusal(error)


async def started(listener: Listener, variable: str, address: str) -> Listener:
    """Return a listener that listens; raise Unavailable if its address is taken."""
    try:
        await listener.start()
    except RuntimeError as error:
        raise taken(variable, address) from error
    return listener


def taken(variable: str, address: str) -> Unavailable:
    """Return the error for an address that can't be listened on."""
    return Unavailable(f"can't listen on {address}: is it taken? Set {variable}")
