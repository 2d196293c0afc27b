"""Hostile network connections: silent, slow, huge, or invalid. Each is a context manager."""

import contextlib
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import grpc
from errata import v1 as pb
from errata.v1 import analysis_service_pb2_grpc

from service.web.connection import MAX_CONNECTIONS

MIB = 1 << 20
MANY = 200
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)  # how TLS begins


def frame(kind: int, content: bytes = b"", flags: int = 0, stream: int = 0, size: int | None = None) -> bytes:
    """Return an HTTP/2 frame; `size` overrides the stated length."""
    length = len(content) if size is None else size
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content


def call_headers(path: str) -> bytes:
    """Return the headers of a gRPC call, each written out."""
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
    headers["content-type"] = "application/grpc"
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in headers.items()
    )


@contextmanager
def connected(address: str, first: bytes = b"", count: int = 1) -> Iterator[list[socket.socket]]:
    """Open connections, and send the same bytes on each. The service may close them."""
    host, _, port = address.rpartition(":")
    with ExitStack() as opened:
        sockets = []
        for _ in range(count):
            connection = opened.enter_context(socket.create_connection((host, int(port)), timeout=10))
            with contextlib.suppress(OSError):
                connection.sendall(first)
            sockets.append(connection)
        yield sockets


@contextmanager
def trickling(
    address: str, first: bytes, rest: bytes, count: int, seconds: float = 0.05
) -> Iterator[list[socket.socket]]:
    """Send one byte at a time on many connections, repeatedly."""
    stopped = threading.Event()

    def trickle(sockets: list[socket.socket]) -> None:
        place = 0
        while not stopped.wait(seconds):
            for connection in sockets:
                with contextlib.suppress(OSError):  # it was cut off
                    connection.send(rest[place : place + 1])
            place = (place + 1) % len(rest)

    with connected(address, first, count) as sockets:
        for connection in sockets:
            connection.setblocking(False)
        thread = threading.Thread(target=trickle, args=(sockets,))
        thread.start()
        try:
            yield sockets
        finally:
            stopped.set()
            thread.join()


@contextmanager
def flooding(address: str, first: bytes, repeated: bytes, max_bytes: int) -> Iterator[None]:
    """Send the same bytes repeatedly until the peer stops reading, and read nothing."""
    with connected(address, first) as (connection,):
        connection.settimeout(0.5)
        with contextlib.suppress(OSError):  # the service closed the connection
            for _ in range(max(1, max_bytes // len(repeated))):
                connection.sendall(repeated)
        yield


@contextmanager
def stalled_uploads(address: str, count: int) -> Iterator[None]:
    """Start uploads that never continue."""
    ends: queue.SimpleQueue[None] = queue.SimpleQueue()

    def messages() -> Iterator[pb.UploadPredictionsRequest]:
        yield pb.UploadPredictionsRequest(header=pb.UploadHeader(analysis=pb.Analysis(dataset="demo")))
        yield pb.UploadPredictionsRequest(chunk=b"file_name,predicted_class\n")
        ends.get()

    with grpc.insecure_channel(address) as channel:
        stub = analysis_service_pb2_grpc.AnalysisServiceStub(channel)
        calls = [stub.UploadPredictions.future(messages(), timeout=120) for _ in range(count)]
        try:
            yield
        finally:
            for call in calls:
                call.cancel()
                ends.put(None)


@contextmanager
def both(one: AbstractContextManager[object], other: AbstractContextManager[object]) -> Iterator[None]:
    with one, other:
        yield


HTTP_GET = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HOOK = b"POST /v1/hooks/generic/other HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CALL = frame(HEADERS, call_headers("/errata.v1.CatalogService/ListErrorTypes"), END_HEADERS, 1)
LONG_LIVED = {
    "silence on HTTP",
    "silence on gRPC",
    "half a preface",
    "headers that trickle",
}  # the service keeps these connections open for a while
Attack = Callable[[str, str], AbstractContextManager[object]]  # (address of gRPC, address of HTTP)

ATTACKS: dict[str, Attack] = {
    "headers that trickle": lambda _, http: trickling(http, HTTP_GET + b"X-A: ", b"a", MANY),
    "first lines that trickle": lambda _, http: trickling(http, b"", b"GET /livez" + b"/" * 90, 100),
    "bodies that trickle": lambda _, http: trickling(http, HOOK + b"Content-Length: 9999\r\n\r\n", b"{", 100),
    "bodies that never come, more than there may be": lambda _, http: connected(
        http, HOOK + b"Content-Length: 10\r\n\r\n{", MAX_CONNECTIONS + 50
    ),
    "chunks that trickle": lambda _, http: trickling(
        http, HOOK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", 50
    ),
    "silence on HTTP": lambda _, http: connected(http, count=MANY),
    "silence on more than there may be": lambda _, http: connected(http, count=MAX_CONNECTIONS + 50),
    "silence on gRPC": lambda grpc, _: connected(grpc, count=MANY),
    "half a preface": lambda grpc, _: connected(grpc, PREFACE[:12], MANY),
    "a preface that trickles": lambda grpc, _: trickling(grpc, b"", PREFACE, 20, 0.2),
    "a preface and silence": lambda grpc, _: connected(grpc, PREFACE + frame(SETTINGS), MANY),
    "a preface and noise": lambda grpc, _: connected(grpc, PREFACE + os.urandom(4096), MANY),
    "calls without an end": lambda grpc, _: connected(grpc, PREFACE + frame(SETTINGS) + CALL, MANY),
    "messages without an end": lambda grpc, _: connected(
        grpc, PREFACE + frame(SETTINGS) + CALL + frame(DATA, b"\0\x7f\xff\xff\xff", 0, 1), MANY
    ),
    "a frame that says it is huge": lambda grpc, _: connected(
        grpc, PREFACE + frame(SETTINGS, size=(1 << 24) - 1) + bytes(1024), 20
    ),
    "HTTP on gRPC": lambda grpc, _: connected(grpc, HTTP_GET + b"\r\n", 20),
    "HTTP/2 on HTTP": lambda _, http: connected(http, PREFACE + frame(SETTINGS), 20),
    "TLS on both": lambda grpc, http: both(connected(grpc, HELLO, 20), connected(http, HELLO, 20)),
    "noise on both": lambda grpc, http: both(
        connected(grpc, os.urandom(9999), 20), connected(http, os.urandom(9999), 20)
    ),
    "a flood of pings": lambda grpc, _: flooding(
        grpc, PREFACE + frame(SETTINGS), frame(PING, bytes(8)) * 1000, 2 * MIB
    ),
    "a flood of settings": lambda grpc, _: flooding(grpc, PREFACE + frame(SETTINGS), frame(SETTINGS) * 1000, 2 * MIB),
    "a flood of windows": lambda grpc, _: flooding(
        grpc, PREFACE + frame(SETTINGS), frame(WINDOW, b"\0\0\0\1") * 1000, 2 * MIB
    ),
    "headers that go on for ever": lambda grpc, _: flooding(
        grpc,
        PREFACE + frame(SETTINGS) + frame(HEADERS, b"", 0, 1),
        frame(CONTINUATION, b"\0\1a\1b" * 800, 0, 1),
        8 * MIB,
    ),
    "calls that are taken back at once": lambda grpc, _: flooding(
        grpc,
        PREFACE + frame(SETTINGS),
        b"".join(
            frame(HEADERS, call_headers("/errata.v1.CatalogService/ListErrorTypes"), END_HEADERS, number)
            + frame(RESET, b"\0\0\0\x08", 0, number)
            for number in range(1, 8000, 2)
        ),
        1,
    ),
    "a header of a megabyte": lambda _, http: flooding(http, HTTP_GET + b"X-A: ", b"a" * 65_536, MIB),
    "a hundred thousand headers": lambda _, http: flooding(http, HTTP_GET, b"X-A: b\r\n" * 1000, MIB),
    "a first line of a megabyte": lambda _, http: flooding(http, b"GET /", b"a" * 65_536, MIB),
    "an unexpected body": lambda _, http: flooding(
        http, HTTP_GET + b"Content-Length: 99999999\r\n\r\n", b"a" * 65_536, 8 * MIB
    ),
    "answers that nobody reads": lambda _, http: flooding(http, b"", METRICS * 100, 4 * MIB),
    "uploads that stall": lambda grpc, _: stalled_uploads(grpc, 20),
}
