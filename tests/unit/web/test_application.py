"""The application on servers of other kinds: it needs only what ASGI requires of a server."""

from typing import Any

from prometheus_client import CollectorRegistry

from service.telemetry import Metrics
from service.web.application import SiteContent, make_application


async def test_a_request_without_optional_fields_is_answered() -> None:
    """The scheme, the client, and the server are optional in ASGI."""
    app = make_application(Metrics(CollectorRegistry()), lambda: True, SiteContent([]))
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/unknown", "query_string": b"", "headers": []}
    await app(scope, receive, send)

    assert sent[0]["status"] == 404
