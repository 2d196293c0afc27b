"""Serve: the edges around some ports, from start to graceful stop."""

import asyncio
import ipaddress
import signal
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from service.analyses.ports import Ports
from service.api.server import make_server
from service.errors import InvalidSetting, Unavailable
from service.settings import Settings
from service.telemetry import Metrics
from service.web.listener import make_listener

_log = structlog.get_logger()


@dataclass(frozen=True)
class Addresses:
    """Where a running service listens."""

    grpc: str
    http: str


async def serve(
    ports: Ports,
    metrics: Metrics,
    settings: Settings,
    stopped: asyncio.Event,
    on_ready: Callable[[Addresses], None],
    before_stop: Callable[[], None],
    after_stop: Callable[[], None],
) -> None:
    """Listen until `stopped` is set, then end gracefully.

    Not ready any more; `before_stop` ends what watchers wait for; no new calls, calls in hand; `after_stop`.
    """
    grpc_host, grpc_port = split(settings.grpc_address)
    http_host, http_port = split(settings.http_address)
    for variable, host in (("ERRATA_GRPC_ADDRESS", grpc_host), ("ERRATA_HTTP_ADDRESS", http_host)):
        refuse_open_door(variable, host, settings.allow_insecure)
    try:
        server = make_server(ports, metrics, f"{grpc_host}:{grpc_port}", settings.max_uploads)
    except RuntimeError as error:
        raise Unavailable(f"can't listen on {settings.grpc_address}: is it taken? Set ERRATA_GRPC_ADDRESS") from error
    ready = False
    listener = make_listener(metrics, lambda: ready, http_host.strip("[]"), http_port)
    try:
        await listener.start()
    except RuntimeError as error:
        raise Unavailable(f"can't listen on {settings.http_address}: is it taken? Set ERRATA_HTTP_ADDRESS") from error
    await server.serve()
    ready = True
    addresses = Addresses(f"{grpc_host}:{server.port}", f"{http_host}:{listener.port}")
    _log.info("ready", grpc=addresses.grpc, http=addresses.http)
    on_ready(addresses)
    try:
        await stopped.wait()
    finally:
        ready = False
        _log.info("stopping", grace_seconds=settings.grace_seconds)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, before_stop)
        await server.stop(settings.grace_seconds)
        await loop.run_in_executor(None, after_stop)
        await listener.stop()
        _log.info("stopped")


def stop_on_signals(stopped: asyncio.Event) -> None:
    """Set the event at SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)


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
