"""The HTTP listener: `/livez`, `/readyz`, `/metrics`, and what else it is given; who may call what is access'."""

import asyncio
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog
import uvicorn
from errata.errors import ErrataError, Unauthenticated
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.authorization import ALLOW_ALL, CALLER, PERMISSIONS, Authorizer
from service.certificates import Certificates
from service.redact import public_message
from service.telemetry import REQUEST_ID, REQUEST_IDS, Metrics, initialize_series, new_request_id
from service.web.connection import CERTIFIED, HEAD_SECONDS, Connection
from service.web.metrics_endpoint import MetricsEndpoint
from service.web.status import status_of

KEEP_ALIVE_SECONDS = 15
ROUTE = "errata.route"  # in the scope: the path of the route
_log = structlog.get_logger()
Endpoint = Callable[[Request], Awaitable[Response]]


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers, since bootstrap owns signals, and with a bound on TLS handshakes."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; raise OSError if the address is taken."""
        config, loop = self.config, asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            return Connection(config, self.server_state, {}, loop)

        listening = await loop.create_server(
            connection,
            config.host,
            config.port,
            ssl=config.ssl,
            ssl_handshake_timeout=HEAD_SECONDS if config.ssl else None,
            backlog=config.backlog,
        )
        self.servers = [listening]
        self.started = True


class _Observed:
    """Gives each call an id, and counts and times answers by route, never by what a caller wrote in the path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        given = dict(scope["headers"]).get(REQUEST_ID.encode(), b"").decode("latin-1")
        request_id = given if REQUEST_IDS.fullmatch(given) else new_request_id()
        structlog.contextvars.bind_contextvars(request=request_id)

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = ((REQUEST_ID.encode(), request_id.encode()), (b"x-content-type-options", b"nosniff"))
                message["headers"] = [*message.get("headers", ()), *own]
                self._metrics.http_requests.labels(_route(scope), str(message["status"])).inc()
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            self._metrics.http_duration.labels(_route(scope)).observe(time.perf_counter() - started)


def _route(scope: Scope) -> str:
    """Return the path of the route that a call took; `other` for none."""
    return str(scope.get(ROUTE, "other"))


class _KnownHosts:
    """Refuses calls under a foreign name: a page elsewhere may have its own name lead to this machine.

    Such a name has a dot and isn't an address, so that those without one and addresses are let through.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            host = given.rpartition(":")[0] if re.search(r":\d*$", given) else given
            foreign = not host or "." in host
            if foreign and host.lower() not in self._names and not _is_address(host):
                words = "expected an address, a name without a dot, or the host of ERRATA_PUBLIC_URL, got another\n"
                answer = PlainTextResponse(words, status_code=421)
                return await answer(scope, receive, send)
        return await self._app(scope, receive, send)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


@dataclass
class Listener:
    """A listener; `port` is known once it has started."""

    server: uvicorn.Server
    task: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        """Listen; raise RuntimeError if the address is taken."""
        self.task = asyncio.create_task(self._serve())
        while not self.server.started:
            if self.task.done():
                raise RuntimeError(f"can't listen on {self.server.config.host}:{self.server.config.port}: is it taken?")
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Stop listening, when the requests in hand are answered."""
        self.server.should_exit = True
        if self.task is not None:
            await self.task

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    async def _serve(self) -> None:
        with suppress(OSError):  # it hasn't started, which start tells
            await self.server.serve()


def make_listener(
    metrics: Metrics,
    ready: Callable[[], bool],
    host: str,
    port: int,
    pages: Sequence[Route] = (),
    not_found: Callable[[str], Response] | None = None,
    names: Collection[str] | None = None,
    access: Authorizer = ALLOW_ALL,
    refused: Callable[[str, ErrataError], Response] | None = None,
    certificates: Certificates | None = None,
    exposes: bool = True,
) -> Listener:
    """Return a listener on an address.

    `ready` says whether work is taken, `not_found` answers for unknown paths, `refused` for calls of a route that
    `access` doesn't let in. With `names`, calls must be for one of these hosts, an address, or a name without a dot.
    With certificates it speaks TLS. Without `exposes`, `/metrics` isn't there.
    """

    async def live(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readiness(_: Request) -> Response:
        is_ready = ready()
        return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else 503)

    own: dict[str, Endpoint] = {"/livez": live, "/readyz": readiness}
    if exposes:
        own["/metrics"] = MetricsEndpoint(metrics.registry).endpoint
    routes = [*(Route(path, endpoint) for path, endpoint in own.items()), *pages]
    initialize_series(metrics.http_requests, (route.path for route in routes), ("500", "503"))

    async def missing(request: Request, _: Exception) -> Response:
        assert not_found is not None, "this is a bug: only used where there is one"
        return not_found(request.url.path)

    app = Starlette(
        routes=[_guarded(route, access, metrics, refused or _refused) for route in routes],
        exception_handlers={} if not_found is None else {404: missing},
    )
    app.router.redirect_slashes = False
    config = _Config(
        _Observed(app if names is None else _KnownHosts(app, names), metrics),
        host=host,
        port=port,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=3,
    )
    config.context = None if certificates is None else _tls(certificates)
    return Listener(_Server(config))


class _Config(uvicorn.Config):
    """Uvicorn's configuration, with a TLS context of ours."""

    context: ssl.SSLContext | None = None

    def load(self) -> None:
        """Get ready to listen."""
        super().load()
        self.ssl = self.context


def _tls(certificates: Certificates) -> ssl.SSLContext:
    """Return a context that takes up replaced files; raise InvalidSetting for files that can't be used."""
    first = certificates.load().context
    newest = [first]

    def at_hello(connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        fresh = certificates.fresh()
        if fresh is not None:
            newest[0] = fresh.context
        connection.context = newest[0]

    first.sni_callback = at_hello  # type: ignore[assignment]
    return first


def _guarded(
    route: Route, access: Authorizer, metrics: Metrics, refused: Callable[[str, ErrataError], Response]
) -> Route:
    """Return a route whose calls are let in by access."""
    assert route.path in PERMISSIONS, f"this is a bug: nobody says who may call {route.path}"
    endpoint: Endpoint = route.endpoint

    async def guarded(request: Request) -> Response:
        request.scope[ROUTE] = route.path
        authorization = request.headers.get("authorization", "")
        try:
            caller = access.check(route.path, authorization, bool(request.scope.get(CERTIFIED)))
        except ErrataError as error:
            metrics.refused_calls.labels("http", error.reason).inc()
            if authorization:  # without one, it is a browser's first call
                _log.info(
                    "call refused", path=route.path, reason=error.reason, peer=peer_of(request), why=error.message
                )
            return refused(route.path, error)
        CALLER.set(caller)
        if caller:
            structlog.contextvars.bind_contextvars(caller=caller)
        return await endpoint(request)

    return Route(route.path, guarded, methods=list(route.methods or ()))


def peer_of(request: Request) -> str:
    """Return who is at the other end of a call's connection, as `address:port`."""
    return "unknown" if request.client is None else f"{request.client.host}:{request.client.port}"


def _refused(_: str, error: ErrataError) -> Response:
    return JSONResponse({"reason": error.reason, "message": public_message(error)}, status_of(error), challenge(error))


def challenge(error: ErrataError, scheme: str = "Bearer") -> dict[str, str]:
    """Return the header that asks a caller to say who they are."""
    return {"WWW-Authenticate": f'{scheme} realm="Errata"'} if isinstance(error, Unauthenticated) else {}
