"""The HTTP listener: `/livez`, `/readyz`, `/metrics`, and what else it is given (the pages)."""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry import Metrics

KEEP_ALIVE_SECONDS = 15
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class _QuietServer(uvicorn.Server):
    """Uvicorn without its own signal handlers: bootstrap owns signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Counted:
    """Counts answers by route, never by what a caller wrote in the path."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope.get("errata.path") or (scope["path"] if scope["path"] in self._paths else "other")
                self._metrics.http_requests.labels(path, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)


class _KnownHosts:
    """Refuses calls under a foreign name: a page elsewhere may have its own name lead to this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            host = given.rpartition(":")[0] if re.search(r":\d*$", given) else given
            if host.lower() not in LOOPBACK_NAMES:
                answer = PlainTextResponse(f"expected one of the hosts {', '.join(LOOPBACK_NAMES)}\n", status_code=421)
                return await answer(scope, receive, send)
        return await self._app(scope, receive, send)


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
        try:
            await self.server.serve()
        except SystemExit:  # uvicorn's answer to an address that is taken
            return


def make_listener(
    metrics: Metrics,
    ready: Callable[[], bool],
    host: str,
    port: int,
    pages: Sequence[Route] = (),
    not_found: Callable[[str], Response] | None = None,
    any_host: bool = True,
) -> Listener:
    """Return a listener on an address; `ready` says whether work is taken, `not_found` answers for unknown paths.

    Without `any_host`, calls must name this machine as such.
    """

    async def live(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readiness(_: Request) -> Response:
        is_ready = ready()
        return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else 503)

    async def exposition(_: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    routes = {"/livez": live, "/readyz": readiness, "/metrics": exposition}

    async def missing(request: Request, _: Exception) -> Response:
        assert not_found is not None, "this is a bug: only used where there is one"
        return not_found(request.url.path)

    app = Starlette(
        routes=[*(Route(path, endpoint) for path, endpoint in routes.items()), *pages],
        exception_handlers={} if not_found is None else {404: missing},
    )
    app.router.redirect_slashes = False
    config = uvicorn.Config(
        _Counted(app if any_host else _KnownHosts(app), metrics, frozenset(routes)),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=3,
    )
    return Listener(_QuietServer(config))
