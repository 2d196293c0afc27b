"""The gRPC and HTTP servers of a process, from start to graceful shutdown."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import structlog
from errata.errors import ErrataError, Unavailable
from starlette.responses import Response
from starlette.routing import Route

from service.analyses.ports import Ports
from service.api.credentials import server_credentials
from service.api.server import GrpcServer, make_server
from service.bootstrap.security import Security, split_address
from service.concurrency import ConcurrencyLimit, make_upload_limit
from service.quotas import RequestQuota
from service.settings import Settings
from service.telemetry import Metrics
from service.web import gates, responses
from service.web.application import SiteContent
from service.web.gates import Gates
from service.web.hooks.endpoint import Hooks, HookSource
from service.web.listener import Listener, make_listener
from service.web.pages import Pages
from service.web.pictures import Pictures
from service.web.responses import http_error
from service.web.upload_page import UploadPage

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
    stop_work: Callable[[float], None]  # ends the work of this process; gets the rest of the grace period in seconds
    close: Callable[[], None]  # closes what calls need, once none is open
    security: Security  # the bind addresses are already checked
    hook_sources: Mapping[str, HookSource] = field(default_factory=dict)  # registries that may send webhooks, by ID

    async def serve(self, stopped: asyncio.Event, on_ready: Callable[[Addresses], None] = lambda _: None) -> None:
        """Serve until `stopped` is set, and then shut down gracefully.

        The shutdown marks the process as not ready, calls `before_stop`, refuses new calls and uploads of browsers,
        and waits for the open ones. Until then, it serves other HTTP requests, such as probes. Then it refuses all HTTP
        requests, and waits for the open ones and for `stop_work` during the rest of the grace period. Finally, it calls
        `close`.

        Args:
            stopped: The event that ends the servers.
            on_ready: Called with the addresses once the servers listen.

        Raises:
            Unavailable: An address is in use.
        """
        settings = self.settings
        uploads = make_upload_limit(settings.max_uploads)
        quota = RequestQuota(self.ports.stores.jobs)
        server = self._make_grpc_server(uploads, quota)
        pages = Pages(self.ports, self.metrics)
        upload_page = UploadPage(self.ports, uploads, pages.evidence.refuse_labels)
        families = (
            Hooks(self.ports, self.hook_sources, self.metrics),
            Gates(self.ports, self.hook_sources, settings.public_url),
            pages,
            Pictures(self.ports.thumbnails),
            upload_page,
        )
        is_serving = False

        def is_ready() -> bool:
            return is_serving and self.is_ready()

        routes = [route for family in families for route in family.routes()]
        listeners = await self._start_listeners(is_ready, routes, quota)
        await server.serve()
        is_serving = True
        addresses = Addresses(
            f"{split_address(settings.grpc_address)[0]}:{server.port}",
            f"{split_address(settings.http_address)[0]}:{listeners[0].port}",
        )
        self.metrics.ready.set_function(lambda: float(is_ready()))
        _log.info("listening", grpc=addresses.grpc, http=addresses.http)
        on_ready(addresses)
        log_ready = asyncio.create_task(log_when_ready(is_ready, "ready", grpc=addresses.grpc, http=addresses.http))
        try:
            await stopped.wait()
        finally:
            is_serving = False
            await cancel(log_ready)
            await self._stop(server, upload_page, listeners)
            for family in families:
                family.stop()
            _log.info("stopped")

    def _make_grpc_server(self, uploads: ConcurrencyLimit, quota: RequestQuota) -> GrpcServer:
        """Create the gRPC server; raise Unavailable if it can't listen."""
        certificates, address = self.security.certificates(), self.settings.grpc_address
        try:
            return make_server(
                self.ports,
                self.metrics,
                address,
                uploads,
                self.security.authorizer,
                None if certificates is None else server_credentials(certificates),
                quota,
            )
        except RuntimeError as error:  # gRPC does not say why it cannot listen
            if certificates is None:
                raise address_in_use("ERRATA_GRPC_ADDRESS", address) from error
            raise Unavailable(
                f"Can't listen on {address}; the address may be in use, or gRPC cannot use a file of the ERRATA_TLS_ "
                "variables. Set ERRATA_GRPC_ADDRESS to another address, or replace the file."
            ) from error

    async def _start_listeners(
        self, is_ready: Callable[[], bool], routes: Sequence[Route], quota: RequestQuota
    ) -> list[Listener]:
        """Start the HTTP listener of the routes and, if the metrics have their own address, that of the metrics."""
        settings, authorizer = self.settings, self.security.authorizer
        public_host = urlsplit(settings.public_url).hostname
        content = SiteContent(
            routes,
            http_error,
            allowed_hosts=None if authorizer.tokens is not None else [public_host] if public_host else [],
            access=authorizer,
            quota=quota,
            refusal=_refusal,
            has_metrics=not settings.metrics_address,
        )
        contents = {"ERRATA_HTTP_ADDRESS": (settings.http_address, content)}
        if settings.metrics_address:
            contents["ERRATA_METRICS_ADDRESS"] = (settings.metrics_address, SiteContent())
        listeners = []
        for variable, (address, site) in contents.items():
            certificates = self.security.certificates()  # each listener needs its own instance
            listener = make_listener(self.metrics, is_ready, split_address(address), site, certificates)
            listeners.append(await start_listener(listener, variable, address))
        return listeners

    async def _stop(self, server: GrpcServer, upload_page: UploadPage, listeners: Sequence[Listener]) -> None:
        """Stop the servers gracefully."""
        grace = self.settings.grace_seconds
        _log.info("stopping", grace_seconds=grace)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        await loop.run_in_executor(None, self.before_stop)
        await asyncio.gather(server.stop(grace), upload_page.drain(grace))
        remaining = deadline - loop.time()
        await asyncio.gather(
            loop.run_in_executor(None, self.stop_work, max(0.0, remaining)),
            *(listener.stop(remaining) for listener in listeners),
        )
        await loop.run_in_executor(None, self.close)


def _refusal(path: str, error: ErrataError) -> Response:
    """Return the response to an unauthorized request: JSON for a gate, HTML for a page."""
    return gates.refusal(error) if path == gates.PATH else responses.refusal(error)


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
