"""Requests to the HTTP server of a service, whose paths no client normalizes, and the responses."""

import http.client
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The response of a call."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @classmethod
    def of(cls, response: http.client.HTTPResponse) -> "Answer":
        return cls(response.status, response.headers, response.read())

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def outcome(self) -> tuple[int, str]:
        """The status and the outcome of a webhook."""
        return self.status, self.json["outcome"]

    @property
    def analysis(self) -> str:
        """The name of the analysis to which the browser is sent."""
        return self.headers["Location"].removeprefix("/")


def send(
    address: str,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    chunked: bool = False,
) -> Answer:
    """Send a request; return the response."""
    with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request(method, path, body, headers or {}, encode_chunked=chunked)
        return Answer.of(connection.getresponse())
