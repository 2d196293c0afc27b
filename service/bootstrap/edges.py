"""The edges around some ports: gRPC and HTTP, from start to graceful stop."""

import asyncio
import ipaddress
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from service.analyses.ports import Ports
from service.api.server import make_server
from service.errors import InvalidSetting, Unavailable
from service.settings import Settings
from service.telemetry import Metrics
from service.web.gates import Gates
from service.web.hooks.endpoint import Caller, Hooks
from service.web.listener import make_listener
from service.web.pages import Pages, not_found

_log = structlog.get_logger()


@dataclass(frozen=True)
class Addresses:
    """Where a running service listens."""

    grpc: str
    http: str


@dataclass(frozen=True)
class Edges:
    """What listens, and what is done around its stop."""

    ports: Ports
    metrics: Metrics
    settings: Settings
    ready: Callable[[], bool]  # whether what the calls need is there
    before_stop: Callable[[], None]  # ends what watchers wait for
    after_stop: Callable[[], None]
    callers: Mapping[str, Caller] = field(default_factory=dict)  # registries whose calls are taken

    async def serve(self, stopped: asyncio.Event, on_ready: Callable[[Addresses], None]) -> None:
        """Listen until `stopped` is set, then end gracefully.

        Not ready any more; `before_stop`; no new calls, calls in hand; `after_stop`.
        """
        settings = self.settings
        grpc_host, grpc_port = split(settings.grpc_address)
        http_host, http_port = split(settings.http_address)
        for variable, host in (("ERRATA_GRPC_ADDRESS", grpc_host), ("ERRATA_HTTP_ADDRESS", http_host)):
            refuse_open_door(variable, host, settings.allow_insecure)
        try:
            server = make_server(self.ports, self.metrics, f"{grpc_host}:{grpc_port}", settings.max_uploads)
        except RuntimeError as error:
            raise taken("ERRATA_GRPC_ADDRESS", settings.grpc_address) from error
        serving = False
        pages = Pages(self.ports)
        hooks = Hooks(self.ports, self.callers, self.metrics)
        gates = Gates(self.ports, settings.public_url)
        listener = make_listener(
            self.metrics,
            lambda: serving and self.ready(),
            http_host.strip("[]"),
            http_port,
            [*hooks.routes(), *gates.routes(), *pages.routes()],
            not_found,
            any_host=settings.allow_insecure or not is_loopback(http_host),
        )
        try:
            await listener.start()
        except RuntimeError as error:
            raise taken("ERRATA_HTTP_ADDRESS", settings.http_address) from error
        await server.serve()
        serving = True
        addresses = Addresses(f"{grpc_host}:{server.port}", f"{http_host}:{listener.port}")
        _log.info("ready", grpc=addresses.grpc, http=addresses.http)
        on_ready(addresses)
        try:
            await stopped.wait()
        finally:
            serving = False
            _log.info("stopping", grace_seconds=settings.grace_seconds)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self.before_stop)
            await server.stop(settings.grace_seconds)
            await loop.run_in_executor(None, self.after_stop)
            await listener.stop()
            for each in (hooks, gates, pages):
                each.stop()
            _log.info("stopped")


def taken(variable: str, address: str) -> Unavailable:
    """Return the error for an address that can't be listened on."""
    return Unavailable(f"can't listen on {address}: is it taken? Set {variable}")


def stop_on_signals(stopped: asyncio.Event) -> None:
    """Set the event at the first SIGTERM or SIGINT; end the process at the second."""

    def stop() -> None:
        if stopped.is_set():
            _log.warning("ended by a second signal")
            os._exit(1)
        stopped.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def split(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def refuse_open_door(variable: str, host: str, allowed: bool) -> None:
    """Raise InvalidSetting for an address beyond loopback, unless the operator allows it."""
    if allowed or is_loopback(host):
        return
    raise InvalidSetting(
        f"{variable}: expected a loopback address, since calls carry no tokens yet, got {host!r}; "
        "ERRATA_ALLOW_INSECURE=true listens there all the same",
        field=variable,
    )


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
