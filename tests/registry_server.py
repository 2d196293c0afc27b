"""A registry for tests: an HTTP server on this machine that answers each path as a test wants."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

Respond = Callable[[BaseHTTPRequestHandler], None]


class LocalServer:
    """An HTTP server on this machine. A subclass writes the response to a request."""

    def __init__(self) -> None:
        respond = self.respond

        class Handler(BaseHTTPRequestHandler):
            def _respond(self) -> None:
                respond(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            do_GET = do_POST = do_PUT = do_DELETE = _respond  # noqa: N815 - names of http.server

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def respond(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        raise NotImplementedError

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class RegistryServer(LocalServer):
    """Responses by path, and the requests that the server received."""

    def __init__(self) -> None:
        self.responses: dict[str, Any] = {}  # by path: a JSON value, or a function that writes the response
        self.fallback: Any = (404, {"error_code": "ENDPOINT_NOT_FOUND"})  # the response to other paths
        self.requests: list[tuple[str, str, str, bytes]] = []  # verb, path with query, Authorization, body
        super().__init__()

    def respond(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.requests.append((request.command, request.path, request.headers.get("Authorization", ""), body))
        response = self.responses.get(urlsplit(request.path).path, self.fallback)
        if callable(response):
            response(request)
            return
        status, value = response if isinstance(response, tuple) else (200, response)
        send(request, status, value if isinstance(value, bytes) else json.dumps(value).encode())


def send(handler: BaseHTTPRequestHandler, status: int, content: bytes, **headers: str) -> None:
    """Send a complete response."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


def drip_until(stopped: threading.Event) -> Respond:
    """Return a response of a megabyte that arrives byte by byte until the event is set."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        with suppress(OSError):
            while not stopped.wait(0.02):
                handler.wfile.write(b" ")

    return drip
