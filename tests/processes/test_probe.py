"""The probe of the containers' health check, against a process that is ready, not ready, or silent."""

import runpy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from registry_server import RegistryServer

import service

PROBE = Path(service.__file__).parent / "probe.py"


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        yield running


def probe(address: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(PROBE), "ERRATA_HTTP_ADDRESS"]
    return subprocess.run(
        command, env={"ERRATA_HTTP_ADDRESS": address, **variables}, capture_output=True, text=True, check=False
    )


@contextmanager
def raw_server(*packets: bytes) -> Iterator[str]:
    """Yield the address of a server that sends these packets, 50 ms apart, and closes the connection."""

    def respond() -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):  # the probe may leave first
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(1000)
            for packet in packets:
                connection.sendall(packet)
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=respond)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1), (302, 1), (404, 1)])
def test_the_exit_status_is_that_of_readyz(server: RegistryServer, status: int, expected: int) -> None:
    server.responses["/readyz"] = (status, {"ready": status == 200})
    port = server.url.rpartition(":")[2]

    for host in ("127.0.0.1", "0.0.0.0"):
        done = probe(f"{host}:{port}")
        assert done.returncode == expected
        assert (f"HTTP/1.0 {status} " in done.stderr) == bool(expected)
    assert [path for _, path, _, _ in server.requests] == ["/readyz"] * 2


@pytest.mark.parametrize("packets", [[b"HTTP/1.1 200 OK\r\n"], [b"HT", b"TP/1.1 2", b"00 OK\r", b"\n\r\n"]])
def test_a_status_line_in_several_packets_is_read_to_its_end(packets: list[bytes]) -> None:
    with raw_server(*packets) as address:
        done = probe(address)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("response", "line"),
    [
        (b"", "''"),
        (b"SMTP 200 hi\r\n", "'SMTP 200 hi'"),
        (b"HTTP/1.0 2000 OK\r\n", "'HTTP/1.0 2000 OK'"),
        (b"HTTP/1.0 503 Busy\r\nHTTP/1.0 200 OK\r\n", "'HTTP/1.0 503 Busy'"),
        (b"\xff" * 5000, repr("\ufffd" * 100)),
    ],
)
def test_another_response_is_not_ready_and_is_printed(response: bytes, line: str) -> None:
    with raw_server(response) as address:
        done = probe(address, PYTHONIOENCODING="utf-8")

    assert done.returncode == 1
    expected = f"expected a response with status 200 to /readyz, got {line}"
    assert done.stderr == f"ERRATA_HTTP_ADDRESS is {address!r}: {expected}\n"


def test_a_process_that_sends_single_bytes_has_one_deadline() -> None:
    namespace = runpy.run_path(str(PROBE))
    namespace["find_problem"].__globals__["TIMEOUT"] = 0.2  # each byte arrives within it

    with raw_server(*[b"H"] * 20) as address:
        assert namespace["find_problem"](address, False) == "no response: timed out"


def test_no_process_is_not_ready() -> None:
    done = probe("127.0.0.1:1")

    assert done.returncode == 1
    assert done.stderr == "ERRATA_HTTP_ADDRESS is '127.0.0.1:1': no response: [Errno 111] Connection refused\n"


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:x"])
def test_an_invalid_address_is_reported_with_the_expected_form(address: str) -> None:
    done = probe(address)

    assert done.returncode == 1
    assert done.stderr.startswith(f"ERRATA_HTTP_ADDRESS is {address!r}: no valid address. Set it to HOST:PORT")
    assert len(done.stderr.splitlines()) == 1


def test_plain_text_is_not_ready_where_the_process_should_use_tls(server: RegistryServer) -> None:
    server.responses["/readyz"] = {"ready": True}

    assert probe(server.url.removeprefix("http://"), ERRATA_TLS_CERTIFICATE="/etc/errata/tls.crt").returncode == 1
