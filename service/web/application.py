"""The HTTP application: `/livez`, `/readyz`, `/metrics`, and further routes, behind authorization."""

import asyncio
import ipaddress
import math
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from errata.errors import ErrataError, Unauthenticated, Unavailable
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import tracing
from service.authorization import ALLOW_ALL, PERMISSIONS, REFUSAL_REASONS, Authorizer
from service.caller import CALLER
from service.quotas import RequestQuota
from service.redact import public_message
from service.telemetry import REQUEST_ID, REQUEST_IDS, Metrics, initialize_series, new_request_id
from service.web.connection import CERTIFIED
from service.web.metrics_endpoint import MetricsEndpoint
from service.web.status import status_of

ROUTE = "errata.route"  # scope key: the path of the matching route
UNTRACED = "/livez", "/readyz", "/metrics"  # called every few seconds
METHODS = "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"
# Requests of these routes do not count toward the quota: a page causes many of them, and browsers cache the responses.
UNCOUNTED = frozenset(
    {"/static/{name}", "/datasets/{dataset}/thumbnails/{image:path}", "/datasets/{dataset}/pictures/{image:path}"}
)
STOP_RETRY_SECONDS = 2.0  # delay before a client repeats a request that the shutdown interrupted
_log = structlog.get_logger()
Endpoint = Callable[[Request], Awaitable[Response]]
Refusal = Callable[[str, ErrataError], Response]


def challenge(error: ErrataError, scheme: str = "Bearer") -> dict[str, str]:
    """Return the header that requests authentication, if the error is about authentication."""
    return {"WWW-Authenticate": f'{scheme} realm="Errata"'} if isinstance(error, Unauthenticated) else {}


def _refusal(_: str, error: ErrataError) -> Response:
    headers = challenge(error) | retry_header(error)
    return JSONResponse({"reason": error.reason, "message": public_message(error)}, status_of(error), headers)


def retry_header(error: ErrataError) -> dict[str, str]:
    """Return the header with the time after which a client may retry, if there is one."""
    return {} if error.retry_after is None else {"Retry-After": str(max(1, math.ceil(error.retry_after)))}


@dataclass(frozen=True)
class SiteContent:
    """The routes of an application besides its health checks, and the conditions for requests."""

    routes: Sequence[Route] = ()
    http_error: Callable[[int, str, str], Response] | None = None  # response for a status (404, 405), method, and path
    allowed_hosts: Collection[str] | None = None  # host names with a dot; None for any
    access: Authorizer = ALLOW_ALL
    quota: RequestQuota = field(default_factory=RequestQuota)
    refusal: Refusal = _refusal  # response to a request of a route that is not authorized
    has_metrics: bool = True  # whether to serve `/metrics`


def make_application(metrics: Metrics, ready: Callable[[], bool], content: SiteContent) -> ASGIApp:
    """Create an application.

    Args:
        metrics: Metrics of requests, served at `/metrics`.
        ready: Returns whether the service accepts work, for `/readyz`.
        content: Further routes, and the conditions for requests.

    Returns:
        The application.
    """
    routes = [*_own_routes(metrics, ready, content.has_metrics), *content.routes]
    initialize_series(metrics.http_requests, (route.path for route in routes), ("500", "503"))
    initialize_series(metrics.refused_calls, ["http"], REFUSAL_REASONS)
    http_error = content.http_error

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert http_error is not None and isinstance(error, HTTPException), "This is a bug"
        response = http_error(error.status_code, request.method, request.url.path)
        response.headers.update(error.headers or {})
        if error.status_code == 405:  # a route knows only its own methods
            matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
            response.headers["Allow"] = ", ".join(
                sorted({method for route in matching for method in route.methods or ()})
            )
        return response

    app = Starlette(
        routes=[_require_authorization(route, content, metrics) for route in routes],
        exception_handlers={} if http_error is None else {404: on_http_error, 405: on_http_error},
    )
    app.router.redirect_slashes = False
    hosts = content.allowed_hosts
    return _RequestMetrics(app if hosts is None else _AllowedHosts(app, hosts), metrics)


def _own_routes(metrics: Metrics, ready: Callable[[], bool], has_metrics: bool) -> list[Route]:
    async def live(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readiness(_: Request) -> Response:
        is_ready = ready()
        return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else 503)

    endpoints: dict[str, Endpoint] = {"/livez": live, "/readyz": readiness}
    if has_metrics:
        endpoints["/metrics"] = MetricsEndpoint(metrics.registry).endpoint
    return [Route(path, endpoint) for path, endpoint in endpoints.items()]


def _require_authorization(route: Route, content: SiteContent, metrics: Metrics) -> Route:
    """Return a route that authorizes requests before it calls the endpoint."""
    assert route.path in PERMISSIONS, f"This is a bug: {route.path} has no permission"
    endpoint: Endpoint = route.endpoint

    async def authorize_and_call(request: Request) -> Response:
        request.scope[ROUTE] = route.path
        authorization = request.headers.get("authorization", "")
        try:
            caller = content.access.check(route.path, authorization, bool(request.scope.get(CERTIFIED)))
            if route.path not in UNCOUNTED:
                await content.quota.count(caller)
        except ErrataError as error:
            metrics.refused_calls.labels("http", error.reason).inc()
            if authorization:  # the first request of a browser has none
                _log.info(
                    "call refused", path=route.path, reason=error.reason, peer=peer_of(request), why=error.message
                )
            return content.refusal(route.path, error)
        CALLER.set(caller)
        if caller.name:
            structlog.contextvars.bind_contextvars(caller=caller.name)
        try:
            return await endpoint(request)
        except asyncio.CancelledError:  # only the listener cancels requests, after the grace period
            _log.warning("request interrupted by the shutdown", path=route.path)
            problem = Unavailable("The service is shutting down. Try again later.", retry_after=STOP_RETRY_SECONDS)
            return content.refusal(route.path, problem)

    return Route(route.path, authorize_and_call, methods=list(route.methods or ()))


def peer_of(request: Request) -> str:
    """Return the address of the client as `address:port`."""
    return "unknown" if request.client is None else f"{request.client.host}:{request.client.port}"


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
        structlog.contextvars.clear_contextvars()  # a pipelined request inherits those of the request before it
        structlog.contextvars.bind_contextvars(request=request_id)

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = ((REQUEST_ID.encode(), request_id.encode()), (b"x-content-type-options", b"nosniff"))
                message["headers"] = [*message.get("headers", ()), *headers]
                self._metrics.http_requests.labels(_route(scope), str(message["status"])).inc()
                tracing.set_attributes({"http.response.status_code": message["status"]})
                if message["status"] >= 500:
                    tracing.set_error(str(message["status"]))
            await send(message)

        try:
            with _traced(scope):
                await self._app(scope, receive, send_counted)
        finally:
            self._metrics.http_duration.labels(_route(scope)).observe(time.perf_counter() - started)


@contextmanager
def _traced(scope: Scope) -> Iterator[None]:
    """Record a request as a span. The span has the route but not the path, which can contain names of files."""
    if scope["path"] in UNTRACED:
        yield
        return
    method = scope["method"] if scope["method"] in METHODS else "_OTHER"
    parent = tracing.read_context((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    attributes = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
    with tracing.span(method, tracing.Kind.SERVER, parent, attributes):
        try:
            yield
        finally:
            route = _route(scope)
            tracing.set_attributes({"http.route": route}, f"{method} {route}")


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
