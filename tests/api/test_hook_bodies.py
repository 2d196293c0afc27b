"""Incomplete webhook calls are evicted by complete ones, the oldest first."""

import base64
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.client import HTTPConnection

import pytest
from running_service import MODEL, Running, Start
from standardwebhooks import Webhook

from service.web.hooks.endpoint import BODY_SECONDS, MAX_READING

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes.").decode()
RULES = [{"event": "created", "dataset": "demo"}]
HEAD = b"POST /v1/hooks/generic/other HTTP/1.1\r\nHost: 127.0.0.1\r\n"
SOON = 10.0  # seconds; less than the time limit of a body
assert SOON < BODY_SECONDS


@pytest.fixture
def running(start: Start) -> Iterator[Running]:
    registry = {"kind": "generic", "secrets": [SECRET], "rules": RULES}
    with start(registries={"other": registry}) as service:
        yield service


def open_incomplete_calls(address: str, count: int, rest: bytes) -> Iterator[socket.socket]:
    """Yield connections that have sent an incomplete call."""
    host, _, port = address.rpartition(":")
    for _ in range(count):
        connection = socket.create_connection((host, int(port)), timeout=SOON)
        connection.sendall(HEAD + rest)
        yield connection


def deliver(address: str, version: str) -> int:
    """Send a valid call; return its status."""
    body = json.dumps({"type": "model_version.created", "data": {"name": "m", "version": version, "model": MODEL}})
    now = datetime.now(UTC)
    headers = {
        "webhook-id": f"msg_{version}",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(f"msg_{version}", now, body),
    }
    connection = HTTPConnection(address, timeout=SOON)
    try:
        connection.request("POST", "/v1/hooks/generic/other", body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def is_open(connection: socket.socket) -> bool:
    """Return whether the connection is open and has no data to read."""
    connection.setblocking(False)
    try:
        connection.recv(1)
    except BlockingIOError:
        return True
    finally:
        connection.settimeout(SOON)
    return False


def read_all(connection: socket.socket) -> bytes:
    """Return the data until the server closes the connection."""
    pieces = []
    while piece := connection.recv(4096):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("count", [MAX_READING, 200])
@pytest.mark.parametrize(
    "rest",
    [b"Content-Length: 99\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"],
    ids=["with a length", "in chunks"],
)
def test_incomplete_requests_are_evicted_by_complete_ones(running: Running, count: int, rest: bytes) -> None:
    with ExitStack() as opened:
        connections = []
        for connection in open_incomplete_calls(running.addresses.http, count, rest):
            connections.append(opened.enter_context(connection))
        over = count - MAX_READING
        for connection in connections[:over]:
            assert read_all(connection).startswith(b"HTTP/1.1 408 ")

        assert [deliver(running.addresses.http, f"{number}") for number in (1, 2)] == [202, 202]

        for connection in connections[over : over + 1]:  # the second connection uses the slot of the first
            assert read_all(connection).startswith(b"HTTP/1.1 408 ")
        assert all(is_open(connection) for connection in connections[over + 2 :]), "more calls ended than necessary"


def test_a_request_that_is_too_large_closes_its_connection(running: Running) -> None:
    (connection,) = open_incomplete_calls(running.addresses.http, 1, b"Content-Length: 999999999\r\n\r\n{")
    with connection:
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")
