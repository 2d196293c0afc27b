"""The HTTP server: `/livez`, `/readyz`, `/metrics`, and further routes, behind authorization."""

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
from starlette.exceptions import HTTPException
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
ROUTE = "errata.route"  # scope key: the path of the matching route
_log = structlog.get_logger()
Endpoint = Callable[[Request], Awaitable[Response]]


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


class _RequestMetrics:
    """Assigns an ID to each request, and measures responses by route, because clients choose the path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        header = dict(scope["headers"]).get(REQUEST_ID.encode(), b"").decode("latin-1")
        request_id = header if REQUEST_IDS.fullmatch(header) else new_request_id()
        structlog.contextvars.bind_contextvars(request=request_id)

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = ((REQUEST_ID.encode(), request_id.encode()), (b"x-content-type-options", b"nosniff"))
                message["headers"] = [*message.get("headers", ()), *headers]
                self._metrics.http_requests.labels(_route(scope), str(message["status"])).inc()
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            self._metrics.http_duration.labels(_route(scope)).observe(time.perf_counter() - started)


def _route(scope: Scope) -> str:
    """Return the route of a request; `other` if no route matches."""
    return str(scope.get(ROUTE, "other"))


class _AllowedHosts:
    """Refuses requests with a foreign host name, which DNS rebinding produces.

    A foreign name has a dot and is not an address. Addresses and names without a dot are accepted.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            header = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            host = header.rpartition(":")[0] if re.search(r":\d*$", header) else header
            has_domain = not host or "." in host
            if has_domain and host.lower() not in self._names and not _is_address(host):
                message = "Unknown host. Use an address, a name without a dot, or the host of ERRATA_PUBLIC_URL.\n"
                response = PlainTextResponse(message, status_code=421)
                return await response(scope, receive, send)
        return await self._app(scope, receive, send)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


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

    async def stop(self) -> None:
        """Stop listening, and wait for the responses in progress."""
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
    host: str,
    port: int,
    routes: Sequence[Route] = (),
    http_error: Callable[[int, str, str], Response] | None = None,
    allowed_hosts: Collection[str] | None = None,
    access: Authorizer = ALLOW_ALL,
    refusal: Callable[[str, ErrataError], Response] | None = None,
    certificates: Certificates | None = None,
    serve_metrics: bool = True,
) -> Listener:
    """Create an HTTP server.

    Args:
        metrics: Metrics of requests, served at `/metrics`.
        ready: Returns whether the service accepts work, for `/readyz`.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        routes: Further routes.
        http_error: Returns the response for a status (404 or 405), method, and path.
        allowed_hosts: Host names that requests may use besides addresses and names without a dot; None for any.
        access: Authorizes requests.
        refusal: Returns the response to a request of a route that is not authorized.
        certificates: Certificates for TLS; None for plain HTTP.
        serve_metrics: Whether to serve `/metrics`.

    Returns:
        The server, not yet started.
    """

    async def live(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readiness(_: Request) -> Response:
        is_ready = ready()
        return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else 503)

    endpoints: dict[str, Endpoint] = {"/livez": live, "/readyz": readiness}
    if serve_metrics:
        endpoints["/metrics"] = MetricsEndpoint(metrics.registry).endpoint
    all_routes = [*(Route(path, endpoint) for path, endpoint in endpoints.items()), *routes]
    initialize_series(metrics.http_requests, (route.path for route in all_routes), ("500", "503"))

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert http_error is not None and isinstance(error, HTTPException), "This is a bug"
        response = http_error(error.status_code, request.method, request.url.path)
        response.headers.update(error.headers or {})
        return response

    app = Starlette(
        routes=[_require_authorization(route, access, metrics, refusal or _refusal) for route in all_routes],
        exception_handlers={} if http_error is None else {404: on_http_error, 405: on_http_error},
    )
    app.router.redirect_slashes = False
    config = _Config(
        _RequestMetrics(app if allowed_hosts is None else _AllowedHosts(app, allowed_hosts), metrics),
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


def _require_authorization(
    route: Route, access: Authorizer, metrics: Metrics, refusal: Callable[[str, ErrataError], Response]
) -> Route:
    """Return a route that authorizes requests before it calls the endpoint."""
    assert route.path in PERMISSIONS, f"This is a bug: {route.path} has no permission"
    endpoint: Endpoint = route.endpoint

    async def authorize_and_call(request: Request) -> Response:
        request.scope[ROUTE] = route.path
        authorization = request.headers.get("authorization", "")
        try:
            caller = access.check(route.path, authorization, bool(request.scope.get(CERTIFIED)))
        except ErrataError as error:
            metrics.refused_calls.labels("http", error.reason).inc()
            if authorization:  # the first request of a browser has none
                _log.info(
                    "call refused", path=route.path, reason=error.reason, peer=peer_of(request), why=error.message
                )
            return refusal(route.path, error)
        CALLER.set(caller)
        if caller:
            structlog.contextvars.bind_contextvars(caller=caller)
        return await endpoint(request)

    return Route(route.path, authorize_and_call, methods=list(route.methods or ()))


def peer_of(request: Request) -> str:
    """Return the address of the client as `address:port`."""
    return "unknown" if request.client is None else f"{request.client.host}:{request.client.port}"


def _refusal(_: str, error: ErrataError) -> Response:
    return JSONResponse({"reason": error.reason, "message": public_message(error)}, status_of(error), challenge(error))


def challenge(error: ErrataError, scheme: str = "Bearer") -> dict[str, str]:
    """Return the header that requests authentication, if the error is about authentication."""
    return {"WWW-Authenticate": f'{scheme} realm="Errata"'} if isinstance(error, Unauthenticated) else {}
